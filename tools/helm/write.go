package main

import (
	"os"
	"path/filepath"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// write writes the objects of each rendering into FOLDER/NAME.yaml. It also writes the pod that the controllers of Kubernetes would create
// into FOLDER/NAME.pod.yaml, because pod security refuses pods, but only warns about workloads.
func (c *check) write(folder string) error {
	all, err := c.render()
	if err != nil {
		return err
	}
	for _, r := range all {
		documents, err := r.documents()
		if err != nil {
			return err
		}
		if len(documents) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, r.name+".yaml"), r.text, 0o600); err != nil {
			return err
		}
		for _, d := range documents {
			text, err := pod(d)
			if err != nil {
				return err
			}
			if text == nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(folder, r.name+".pod.yaml"), text, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// pod is the first pod of a workload; nil if the object is none.
func pod(d document) ([]byte, error) {
	var o appsv1.StatefulSet // has all fields of a Deployment that are needed here
	if d.kind != "Deployment" && d.kind != "StatefulSet" {
		return nil, nil
	}
	if err := yaml.Unmarshal(d.text, &o); err != nil {
		return nil, err
	}
	p := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: o.Name + "-0", Labels: o.Spec.Template.Labels, Annotations: o.Spec.Template.Annotations},
		Spec:       o.Spec.Template.Spec,
	}
	for _, claim := range o.Spec.VolumeClaimTemplates {
		source := corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name + "-" + p.Name}
		volume := corev1.Volume{Name: claim.Name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &source}}
		p.Spec.Volumes = append(p.Spec.Volumes, volume)
	}
	return yaml.Marshal(&p)
}
