// Command helm renders the charts of wayside with a matrix of values, by Helm itself, and the base for Kustomize, and checks the results:
// `helm lint --strict`, strict decoding into the types of the Kubernetes API, and what every pod must have. It writes the configuration
// files of the ConfigMaps into a folder, for wayside config check. With -render, it checks nothing, and only writes the renderings and
// their pods into a folder, for a real API server.
//
//	helm HELM CHARTS CONFIGS
//	helm -render FOLDER HELM CHARTS
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func main() {
	folder := flag.String("render", "", "only write the renderings into this folder")
	flag.Parse()
	if want := map[bool]int{true: 3, false: 2}[*folder == ""]; flag.NArg() != want {
		fmt.Fprintln(os.Stderr, "usage: helm HELM CHARTS CONFIGS, or helm -render FOLDER HELM CHARTS")
		os.Exit(2)
	}
	c := check{helm: flag.Arg(0), charts: flag.Arg(1), configs: flag.Arg(2)}
	run := c.run
	if *folder != "" {
		run = func() error { return c.write(*folder) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if *folder == "" {
		fmt.Printf("%d renderings, %d objects, %d pods: all hold\n", c.renderings, c.objects, c.pods)
	}
}

// kubeVersion is the version of Kubernetes for which the charts are rendered: that of the API's types.
const kubeVersion = "1.36.0"

type check struct {
	helm, charts, configs     string
	renderings, objects, pods int
	errs                      []error
}

// rendering is what Helm or Kustomize makes of a set of values.
type rendering struct {
	name string
	text []byte
}

// chart is the folder of the gateway's chart.
func (c *check) chart() string { return filepath.Join(c.charts, "wayside") }

// values are the files of the matrix.
func (c *check) values() ([]string, error) {
	values, err := filepath.Glob(filepath.Join(c.chart(), "ci", "*.yaml"))
	if err == nil && len(values) == 0 {
		err = fmt.Errorf("no values in %s", c.chart())
	}
	return values, err
}

// render renders the gateway with all values, the example of a sidecar, and the base for Kustomize.
func (c *check) render() (all []rendering, err error) {
	values, err := c.values()
	if err != nil {
		return nil, err
	}
	for _, file := range values {
		text, err := c.command("template", "edge", c.chart(), "--kube-version", kubeVersion, "--values", file)
		if err != nil {
			return nil, err
		}
		all = append(all, rendering{strings.TrimSuffix(filepath.Base(file), ".yaml"), text})
	}
	example := filepath.Join(c.charts, "example-sidecar")
	if _, err := c.command("dependency", "build", "--skip-refresh", example); err != nil {
		return nil, err
	}
	text, err := c.command("template", "shop", example, "--kube-version", kubeVersion)
	if err != nil {
		return nil, err
	}
	all = append(all, rendering{"sidecar", text})
	base := filepath.Join(c.charts, "..", "kustomize", "base")
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), base)
	if err != nil {
		return nil, err
	}
	text, err = resources.AsYaml()
	return append(all, rendering{"kustomize", text}), err
}

// documents are the objects of a rendering by their kinds. Only the values "off" give none.
func (r *rendering) documents() (documents []document, err error) {
	for _, text := range bytes.Split(r.text, []byte("\n---\n")) {
		var head struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal(text, &head); err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		if head.Kind != "" {
			documents = append(documents, document{head.Kind, text})
		}
	}
	if (len(documents) == 0) != (r.name == "off") {
		return nil, fmt.Errorf("%s: %d objects", r.name, len(documents))
	}
	return documents, nil
}

type document struct {
	kind string
	text []byte
}

func (c *check) run() error {
	values, err := c.values()
	if err != nil {
		return err
	}
	for _, file := range values {
		if _, err := c.command("lint", "--strict", "--kube-version", kubeVersion, c.chart(), "--values", file); err != nil {
			return err
		}
	}
	all, err := c.render()
	if err != nil {
		return err
	}
	for _, r := range all {
		c.rendering(&r)
	}
	for _, wrong := range [][]string{
		{},
		{"--set", "config.upstream=http://a", "--set", "kind=DaemonSet"},
		{"--set", "config.upstream=http://a", "--set", "shutdown.marginSeconds=0"},
	} {
		if text, err := c.command(append([]string{"template", "edge", c.chart(), "--kube-version", kubeVersion}, wrong...)...); err == nil {
			c.errs = append(c.errs, fmt.Errorf("values %v are accepted: %d bytes", wrong, len(text)))
		}
	}
	return errors.Join(c.errs...)
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

// rendering checks the objects of one rendering.
func (c *check) rendering(r *rendering) {
	c.renderings++
	documents, err := r.documents()
	if err != nil {
		c.errs = append(c.errs, err)
	}
	for _, d := range documents {
		c.objects++
		if err := c.object(r.name, d.kind, d.text); err != nil {
			c.errs = append(c.errs, fmt.Errorf("%s: %s: %w\n%s", r.name, d.kind, err, d.text))
		}
	}
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
		return yaml.UnmarshalStrict(text, &monitoringv1.PodMonitor{})
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
	for _, constraint := range spec.TopologySpreadConstraints {
		want(constraint.LabelSelector != nil, "labelSelector in a topologySpreadConstraint, which then matches no pod")
	}
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
