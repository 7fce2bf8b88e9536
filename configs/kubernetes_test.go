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

// manifest is what TestKubernetesManifest looks at, of all kinds at once.
type manifest struct {
	Kind string            `yaml:"kind"`
	Data map[string]string `yaml:"data"`
	Spec struct {
		Template struct {
			Spec podSpec `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type podSpec struct {
	Grace          int         `yaml:"terminationGracePeriodSeconds"`
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

func readManifest(t *testing.T) (config string, pod podSpec) {
	t.Helper()
	loader, err := yaml.NewLoader(bytes.NewReader(Example("kubernetes")))
	if err != nil {
		t.Fatal(err)
	}
	for {
		var m manifest
		err := loader.Load(&m)
		if errors.Is(err, io.EOF) {
			return config, pod
		}
		if err != nil {
			t.Fatal(err)
		}
		switch m.Kind {
		case "ConfigMap":
			config = m.Data["wayside.yaml"]
		case "Deployment":
			pod = m.Spec.Template.Spec
		}
	}
}

// TestKubernetesManifest loads the configuration inside the manifest strictly and holds the two to each other.
func TestKubernetesManifest(t *testing.T) {
	config, pod := readManifest(t)
	c, err := Load(LoadOptions{File: writeFile(t, config)})
	if err != nil {
		t.Fatal(err)
	}
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
