package configs

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// manifest has the fields of all kinds of objects that TestKubernetesManifest checks.
type manifest struct {
	Kind string            `yaml:"kind"`
	Data map[string]string `yaml:"data"`
	Spec struct {
		Template struct {
			Spec podSpec `yaml:"spec"`
		} `yaml:"template"`
		Claims []struct {
			Spec struct {
				AccessModes []string `yaml:"accessModes"`
				Resources   struct {
					Requests map[string]string `yaml:"requests"`
				} `yaml:"resources"`
			} `yaml:"spec"`
		} `yaml:"volumeClaimTemplates"`
		Ports []struct { // ports of the Service
			Target string `yaml:"targetPort"`
		} `yaml:"ports"`
		Ingress []struct {
			From  []any `yaml:"from"`
			Ports []struct {
				Port string `yaml:"port"`
			} `yaml:"ports"`
		} `yaml:"ingress"`
	} `yaml:"spec"`
}

type podSpec struct {
	Grace          int         `yaml:"terminationGracePeriodSeconds"`
	Token          *bool       `yaml:"automountServiceAccountToken"`
	InitContainers []container `yaml:"initContainers"`
	Containers     []container `yaml:"containers"`
	Volumes        []struct {
		Name     string `yaml:"name"`
		EmptyDir struct {
			SizeLimit string `yaml:"sizeLimit"`
		} `yaml:"emptyDir"`
	} `yaml:"volumes"`
}

type container struct {
	Image     string `yaml:"image"`
	Pull      string `yaml:"imagePullPolicy"`
	Resources struct {
		Requests map[string]string `yaml:"requests"`
	} `yaml:"resources"`
	RestartPolicy string   `yaml:"restartPolicy"`
	Args          []string `yaml:"args"`
	Ports         []struct {
		Name string `yaml:"name"`
		Port int    `yaml:"containerPort"`
	} `yaml:"ports"`
	StartupProbe   probe `yaml:"startupProbe"`
	ReadinessProbe probe `yaml:"readinessProbe"`
	LivenessProbe  probe `yaml:"livenessProbe"`
	Security       struct {
		User     int  `yaml:"runAsUser"`
		ReadOnly bool `yaml:"readOnlyRootFilesystem"`
	} `yaml:"securityContext"`
	Lifecycle struct {
		PreStop struct {
			Sleep struct {
				Seconds int `yaml:"seconds"`
			} `yaml:"sleep"`
		} `yaml:"preStop"`
	} `yaml:"lifecycle"`
}

type probe struct {
	HTTPGet struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
}

func readManifest(t *testing.T, name string) (config string, pod podSpec, kinds map[string]manifest) {
	t.Helper()
	loader, err := yaml.NewLoader(bytes.NewReader(Example(name)))
	if err != nil {
		t.Fatal(err)
	}
	kinds = map[string]manifest{}
	for {
		var m manifest
		err := loader.Load(&m)
		if errors.Is(err, io.EOF) {
			return config, pod, kinds
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds[m.Kind] = m
		switch m.Kind {
		case "ConfigMap":
			config = m.Data["wayside.yaml"]
		case "Deployment", "StatefulSet":
			pod = m.Spec.Template.Spec
		}
	}
}

// TestKubernetesManifest loads the configuration in each manifest strictly, and checks that the rest of the manifest agrees with it.
func TestKubernetesManifest(t *testing.T) {
	for _, name := range []string{"kubernetes", "kubernetes-volume"} {
		t.Run(name, func(t *testing.T) { checkManifest(t, name) })
	}
}

func checkManifest(t *testing.T, name string) {
	config, pod, kinds := readManifest(t, name)
	c, err := Load(LoadOptions{File: writeFile(t, config)})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Record.Exclude.UserAgents) > 0 {
		t.Error("anybody can hide a request by its user agent")
	}
	for _, rule := range c.Record.Exclude.Paths {
		if !strings.Contains(rule, " ") {
			t.Errorf("%s is hidden whoever asks for it", rule)
		}
	}
	checkHygiene(t, pod, kinds)
	if c.RequireUpstream() != nil {
		t.Error("no upstream")
	}
	if len(pod.InitContainers) != 1 || len(pod.Containers) != 1 {
		t.Fatal("want one sidecar and one app")
	}
	sidecar, app := pod.InitContainers[0], pod.Containers[0]
	if sidecar.RestartPolicy != "Always" || !sidecar.Security.ReadOnly || sidecar.Security.User != 65532 {
		t.Errorf("not a native sidecar, or not confined: %+v", sidecar)
	}
	ports := map[string]int{}
	for _, p := range sidecar.Ports {
		ports[p.Name] = p.Port
	}
	if want := ":" + strconv.Itoa(ports["probes"]); c.Admin.Probes != want {
		t.Errorf("probes go to %s, wayside listens on %s", want, c.Admin.Probes)
	}
	for _, p := range []probe{sidecar.StartupProbe, sidecar.ReadinessProbe, sidecar.LivenessProbe} {
		if p.HTTPGet.Port != "probes" || !strings.HasSuffix(p.HTTPGet.Path, "z") {
			t.Errorf("probe %+v", p)
		}
	}
	if need := c.Shutdown.Timeout + Duration(app.Lifecycle.PreStop.Sleep.Seconds)*Second; Duration(pod.Grace)*Second <= need {
		t.Errorf("a grace period of %ds cannot hold %s", pod.Grace, need)
	}
	for _, claim := range kinds["StatefulSet"].Spec.Claims {
		size, err := ParseBytes(claim.Spec.Resources.Requests["storage"] + "B")
		if err != nil || c.Data.BytesMax == 0 || c.Data.BytesMax+c.Data.FreeMin >= size || claim.Spec.AccessModes[0] != "ReadWriteOncePod" {
			t.Errorf("data.bytes_max %s and free_min %s do not fit %+v", c.Data.BytesMax, c.Data.FreeMin, claim)
		}
	}
	for _, v := range pod.Volumes {
		if v.Name != "data" {
			continue
		}
		limit, err := ParseBytes(v.EmptyDir.SizeLimit + "B")
		if err != nil || c.Data.BytesMax == 0 || c.Data.BytesMax >= limit {
			t.Errorf("data.bytes_max %s reaches the volume's limit %s: kubelet would evict the pod", c.Data.BytesMax, v.EmptyDir.SizeLimit)
		}
	}
}

// checkHygiene checks the settings that every manifest should have, because users copy it.
func checkHygiene(t *testing.T, pod podSpec, kinds map[string]manifest) {
	t.Helper()
	if pod.Token == nil || *pod.Token {
		t.Error("the pod gets a token of the API server that nobody needs")
	}
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		if _, tag, ok := strings.Cut(c.Image, ":"); !ok || tag == "latest" || c.Pull == "Always" {
			t.Errorf("image %s, pull policy %s", c.Image, c.Pull)
		}
	}
	if pod.InitContainers[0].Resources.Requests["ephemeral-storage"] == "" {
		t.Error("no request for ephemeral storage")
	}
	policy, ok := kinds["NetworkPolicy"]
	if !ok {
		t.Fatal("no NetworkPolicy")
	}
	ports := map[string]string{} // ports of the sidecar, by number
	for _, p := range pod.InitContainers[0].Ports {
		ports[strconv.Itoa(p.Port)] = p.Name
	}
	// Before Kubernetes 1.32, Services and policies do not find named ports of init containers, and a native sidecar is one.
	for _, p := range kinds["Service"].Spec.Ports {
		if ports[p.Target] != "http" {
			t.Errorf("the Service sends requests to %s, which is not the number of the sidecar's http port", p.Target)
		}
	}
	if len(kinds["Service"].Spec.Ports) == 0 {
		t.Error("no Service")
	}
	for _, rule := range policy.Spec.Ingress {
		for _, p := range rule.Ports {
			if ports[p.Port] == "" {
				t.Errorf("the policy admits to %s, which is not the number of a port of the sidecar", p.Port)
			}
			if ports[p.Port] != "http" && len(rule.From) == 0 {
				t.Errorf("everybody reaches %s", p.Port)
			}
		}
	}
}
