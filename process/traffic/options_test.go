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

// otherValues are valid non-default values for keys whose type alone does not determine what is valid.
var otherValues = map[string]string{
	"upstream": "http://127.0.0.1:2", "proxy_protocol": "10.0.0.0/8", "proxy.trusted_proxies": "10.0.0.0/8", "proxy.pass_fields": "CF-Connecting-IP",
	"proxy.request_fields.remove": "X-A", "proxy.response_fields.remove": "X-A",
	"record.exclude.paths": "/healthz", "record.exclude.user_agents": "kube-probe/", "record.client_address": "full",
}

// other returns a valid value for a key that is not its default.
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

// TestKeysThatTakeEffectAtOnceReachTheProxy: a reload reports these keys as in effect and gives the proxy new options, so each of these keys
// must change the options. The proxy's own tests check what it does with them.
func TestKeysThatTakeEffectAtOnceReachTheProxy(t *testing.T) {
	load := func(environ ...string) *configs.Config {
		cfg, err := configs.Load(configs.LoadOptions{Environ: append([]string{"WAYSIDE_UPSTREAM=http://127.0.0.1:1"}, environ...)})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	before := proxyOptions(load(), nil, nil, nil)
	for _, k := range configs.Keys() {
		if k.Effect != configs.EffectAtOnce || strings.HasPrefix(k.Path, "shutdown.") || strings.HasPrefix(k.Path, "tls.") || k.Env == "" { // shutdown: read when it begins; tls: see TestTLS
			continue
		}
		if after := proxyOptions(load(k.Env+"="+other(k)), nil, nil, nil); reflect.DeepEqual(before, after) {
			t.Errorf("%s: %s makes no difference to the proxy", k.Path, other(k))
		}
	}
}

// TestKeysReadAtTheStartNeedARestart: a reload cannot change a key that the traffic process reads from the configuration at the start (t.cfg)
// instead of the one in effect (t.config), so it must not report such a key as changed.
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
				continue // it is a method or a section
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
