package traffic

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/configs"
)

// otherValues are values that differ from the default, of keys whose type does not say which would be right.
var otherValues = map[string]string{
	"upstream": "http://127.0.0.1:2", "proxy.trusted_proxies": "10.0.0.0/8", "proxy.pass_fields": "CF-Connecting-IP",
	"proxy.request_fields.remove": "X-A", "proxy.response_fields.remove": "X-A",
	"record.exclude.paths": "/healthz", "record.exclude.user_agents": "kube-probe/", "record.client_address": "full",
}

// other is a value of the key that is not its default.
func other(k configs.Key) string {
	if v := otherValues[k.Path]; v != "" {
		return v
	}
	switch k.Type {
	case "list":
		return "X-A: b"
	case "true or false":
		return map[string]string{"true": "false", "false": "true"}[k.Default]
	case "duration":
		return "77s"
	case "size":
		return "77KiB"
	}
	return "77"
}

// TestKeysThatTakeEffectAtOnceReachTheProxy: a reload says of these keys that they are in effect, and gives the proxy new
// options; so each of them must make a difference there. What the proxy does with new options its own tests show.
func TestKeysThatTakeEffectAtOnceReachTheProxy(t *testing.T) {
	load := func(environ ...string) *configs.Config {
		cfg, err := configs.Load(configs.LoadOptions{Environ: append([]string{"WAYSIDE_UPSTREAM=http://127.0.0.1:1"}, environ...)})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	before := proxyOptions(load(), nil, nil)
	for _, k := range configs.Keys() {
		if k.Effect != configs.EffectAtOnce || strings.HasPrefix(k.Path, "shutdown.") { // read when the shutdown begins
			continue
		}
		if after := proxyOptions(load(k.Env+"="+other(k)), nil, nil); reflect.DeepEqual(before, after) {
			t.Errorf("%s: %s makes no difference to the proxy", k.Path, other(k))
		}
	}
}

// TestKeysReadAtTheStartNeedARestart: what the traffic process reads of the configuration it was started with (t.cfg), and
// not of the one in effect (t.config), no reload can change; so a reload must not say that it has.
func TestKeysReadAtTheStartNeedARestart(t *testing.T) {
	effects := map[string]configs.Effect{}
	for _, k := range configs.Keys() {
		effects[strings.ReplaceAll(k.Path, "_", "")] = k.Effect
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	read := regexp.MustCompile(`\bt\.cfg\.((?:[A-Z][A-Za-z]*\.)?[A-Z][A-Za-z]*)`)
	found := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range read.FindAllStringSubmatch(string(text), -1) {
			effect, known := effects[strings.ToLower(match[1])]
			if !known {
				continue // a method, or a section
			}
			found++
			if effect != configs.EffectRestart {
				t.Errorf("%s reads %s at the start, and a reload says of it: %s", name, match[0], effect)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d keys are read from t.cfg: has it another name?", found)
	}
}
