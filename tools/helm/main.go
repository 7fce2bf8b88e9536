// Command helm renders the charts of wayside with a matrix of values, by Helm itself, and the base for Kustomize, and checks the results: `helm lint --strict`, strict
// decoding into the types of the Kubernetes API, and what every pod must have. It writes the configuration files of the ConfigMaps into a
// folder, for wayside config check.
//
//	helm HELM CHARTS CONFIGS
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: helm HELM CHARTS CONFIGS")
		os.Exit(2)
	}
	c := check{helm: os.Args[1], charts: os.Args[2], configs: os.Args[3]}
	if err := c.run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d renderings, %d objects, %d pods: all hold\n", c.renderings, c.objects, c.pods)
}

// kubeVersion is the version of Kubernetes for which the charts are rendered: that of the API's types.
const kubeVersion = "1.36.0"

type check struct {
	helm, charts, configs     string
	renderings, objects, pods int
	errs                      []error
}

func (c *check) run() error {
	chart := filepath.Join(c.charts, "wayside")
	values, err := filepath.Glob(filepath.Join(chart, "ci", "*.yaml"))
	if err != nil || len(values) == 0 {
		return fmt.Errorf("no values in %s: %w", chart, err)
	}
	for _, file := range values {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if _, err := c.command("lint", "--strict", "--kube-version", kubeVersion, chart, "--values", file); err != nil {
			return err
		}
		text, err := c.command("template", "edge", chart, "--kube-version", kubeVersion, "--values", file)
		if err != nil {
			return err
		}
		c.rendering(name, text, name != "off")
	}
	example := filepath.Join(c.charts, "example-sidecar")
	if _, err := c.command("dependency", "build", "--skip-refresh", example); err != nil {
		return err
	}
	text, err := c.command("template", "shop", example, "--kube-version", kubeVersion)
	if err != nil {
		return err
	}
	c.rendering("sidecar", text, true)
	if err := c.kustomize(); err != nil {
		return err
	}
	for _, wrong := range [][]string{{}, {"--set", "config.upstream=http://a", "--set", "kind=DaemonSet"}, {"--set", "config.upstream=http://a", "--set", "shutdown.marginSeconds=0"}} {
		if text, err := c.command(append([]string{"template", "edge", chart, "--kube-version", kubeVersion}, wrong...)...); err == nil {
			c.errs = append(c.errs, fmt.Errorf("values %v are accepted: %d bytes", wrong, len(text)))
		}
	}
	return errors.Join(c.errs...)
}

// kustomize builds the base for Kustomize and checks its objects.
func (c *check) kustomize() error {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(c.charts, "..", "kustomize", "base"))
	if err != nil {
		return err
	}
	text, err := resources.AsYaml()
	if err != nil {
		return err
	}
	c.rendering("kustomize", text, true)
	return nil
}

func (c *check) command(args ...string) ([]byte, error) {
	cmd := exec.Command(c.helm, args...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("helm %s: %w\n%s%s", strings.Join(args, " "), err, problems.String(), out)
	}
	return out, nil
}

func (c *check) fail(name, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(name+": "+format, args...))
}

// rendering checks the objects of one rendering; whole says that there must be some.
func (c *check) rendering(name string, text []byte, whole bool) {
	c.renderings++
	objects := 0
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var head struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal(document, &head); err != nil {
			c.fail(name, "%v", err)
			continue
		}
		if head.Kind == "" {
			continue
		}
		objects++
		if err := c.object(name, head.Kind, document); err != nil {
			c.fail(name, "%s: %v\n%s", head.Kind, err, document)
		}
	}
	c.objects += objects
	if (objects > 0) != whole {
		c.fail(name, "%d objects", objects)
	}
}

// podMonitor is the part of the Prometheus operator's type that the chart uses.
type podMonitor struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

// object decodes an object strictly: an unknown or repeated field is an error.
func (c *check) object(name, kind string, text []byte) error {
	switch kind {
	case "Deployment":
		var o appsv1.Deployment
		return errors.Join(yaml.UnmarshalStrict(text, &o), c.pod(&o.Spec.Template, o.Spec.Selector.MatchLabels))
	case "StatefulSet":
		var o appsv1.StatefulSet
		if err := yaml.UnmarshalStrict(text, &o); err != nil {
			return err
		}
		if len(o.Spec.VolumeClaimTemplates) != 1 || o.Spec.ServiceName == "" {
			return errors.New("it has no volume, or no service")
		}
		return c.pod(&o.Spec.Template, o.Spec.Selector.MatchLabels)
	case "ConfigMap":
		var o corev1.ConfigMap
		if err := yaml.UnmarshalStrict(text, &o); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(c.configs, name+".yaml"), []byte(o.Data["wayside.yaml"]), 0o600)
	case "Service":
		return yaml.UnmarshalStrict(text, &corev1.Service{})
	case "ServiceAccount":
		return yaml.UnmarshalStrict(text, &corev1.ServiceAccount{})
	case "NetworkPolicy":
		return yaml.UnmarshalStrict(text, &networkingv1.NetworkPolicy{})
	case "PodDisruptionBudget":
		return yaml.UnmarshalStrict(text, &policyv1.PodDisruptionBudget{})
	case "PodMonitor":
		return yaml.UnmarshalStrict(text, &podMonitor{})
	}
	return errors.New("unknown kind")
}

// stopMargin is the least time in seconds between shutdown.timeout and the end of the grace period.
const stopMargin = 5

// pod checks what pod security "restricted" asks for, and what wayside needs.
func (c *check) pod(template *corev1.PodTemplateSpec, selector map[string]string) error {
	c.pods++
	var errs []error
	want := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("the pod has no "+what))
		}
	}
	for key, value := range selector {
		want(template.Labels[key] == value, "label "+key+" of its selector")
	}
	spec := &template.Spec
	want(spec.AutomountServiceAccountToken != nil && !*spec.AutomountServiceAccountToken, "automountServiceAccountToken: false")
	want(spec.SecurityContext != nil && spec.SecurityContext.FSGroup != nil, "fsGroup")
	want(spec.TerminationGracePeriodSeconds != nil && *spec.TerminationGracePeriodSeconds >= 25+stopMargin, "grace period above shutdown.timeout")
	containers := slices.Concat(spec.InitContainers, spec.Containers)
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == "wayside" })
	want(i >= 0, "container wayside")
	if i < 0 {
		return errors.Join(errs...)
	}
	w := &containers[i]
	s := w.SecurityContext
	want(s != nil && s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem, "read-only root")
	want(s != nil && s.RunAsNonRoot != nil && *s.RunAsNonRoot, "runAsNonRoot")
	want(s != nil && s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation, "allowPrivilegeEscalation: false")
	want(s != nil && s.Capabilities != nil && slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}), "dropped capabilities")
	want(s != nil && s.SeccompProfile != nil && s.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "seccomp profile")
	want(w.StartupProbe != nil && w.ReadinessProbe != nil && w.LivenessProbe != nil, "three probes")
	want(!w.Resources.Limits.Memory().IsZero(), "limit of memory")
	for _, mount := range w.VolumeMounts {
		want(slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name }) || mount.Name == "data", "volume "+mount.Name)
	}
	return errors.Join(errs...)
}
