package pathbench

import "strings"

var (
	words = strings.Fields(`
		alpha amber anchor apple arrow atlas aurora autumn badge bamboo banner barrel basket beacon berry blue board bolt
		bottle branch breeze brick bridge bright bronze brook brush bubble bucket butter button cabin cable cactus camera
		candle canvas carbon cargo castle cedar center chain chair chalk cherry circle city clay clear client clock cloud
		clover coast cobalt coffee comet compass copper coral core cotton craft crane crater creek crisp crown crystal
		current dash data dawn deep delta desert diamond dock dolphin door dragon dream drift drum dune dust eagle early
		earth echo edge elm ember engine even ever falcon farm feather fern field fig finch fire flag flame flat flint
		float flow flower fog forest forge fox frame free fresh frost fruit galaxy garden gate gentle giant ginger glass
		globe gold grain grand granite graph grass gravity green grid grove guide gulf hammer happy harbor hawk hazel
		heart hill hive hollow honey hook horizon house icon idea indigo ink iris iron island ivory jade jet jewel jungle
		keen kernel kind kite lake lamp lantern laser lava leaf lemon level light lily linen lion little local logic lotus
		lucky lunar lynx magnet maker maple marble market meadow mellow melon metal meteor mint mirror mist model moon
		morning moss motion mountain music native nebula nest net night noble north nova oak oasis ocean olive onyx opal
		open orbit orchard orchid origin otter owl paint palm panda paper parade park path peak pearl pebble pepper phoenix
		pilot pine pioneer pixel planet plum point polar pond port prairie prime prism pulse purple quartz quick quiet
		radar rain rapid raven reef ridge river robin rocket root rose ruby sage sail salmon sand sapphire scout sea seed
		shadow shell shield shore signal silent silver sky smart smoke snow solar solid sonic south spark spice spring
		sprout square star stone storm stream summer summit sun swan swift table tango teal tiger timber toast topaz torch
		tower trail tree tulip tundra turbo unity urban valley velvet venture violet vision vista vivid wagon walnut water
		wave west whale wheat wild willow wind winter wolf wonder wood yellow zen zenith zephyr zinc`)
	givenNames = strings.Fields(`
		ada alan alice amir ana anders andrea anna anton ben bruno carla carlos chen chloe clara dan david deniz diego elena
		elif emil emma erik eva felix finn frida georg grace hana hans ines ivan jan jana joe johanna jonas jose julia jun
		kai karl kate kenji lara lars laura lea leo lena lin linus lisa luca lucia luis maja marc maria marta max maya mei
		mia mila mira nadia nina noah nora olga omar oscar paul pedro petra rosa ruth sam sara sofia stefan sven tara theo
		tim tom vera viktor wei yuki zoe`)
	onsets    = strings.Fields("b br c cl d dr f fl g gl h j k kl l m n p pr qu r s sk st t tr v w z zh")
	vowels    = strings.Fields("a e i o u ai ea io ou y")
	weakSpots = []string{
		"/wp-login.php", "/wp-admin/setup-config.php", "/.env", "/.git/config", "/phpmyadmin/index.php", "/admin/config.php",
		"/xmlrpc.php", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "/cgi-bin/luci", "/boaform/admin/formLogin",
		"/actuator/health", "/solr/admin/info/system", "/HNAP1/", "/manager/html", "/.aws/credentials", "/config.json",
		"/backup.sql", "/server-status", "/telescope/requests", "/owa/auth/logon.aspx", "/api/jsonws/invoke", "/_ignition/execute-solution",
	}
)
