package httpcorpus

import "testing"

func TestSize(t *testing.T) {
	names := map[string]bool{}
	refused := 0
	for _, r := range Requests() {
		if names[r.Name] {
			t.Errorf("%s: name used twice", r.Name)
		}
		names[r.Name] = true
		if r.Status != 0 {
			refused++
		}
	}
	if refused < 150 || len(Responses()) < 60 {
		t.Errorf("%d hostile requests, %d hostile responses", refused, len(Responses()))
	}
	t.Logf("%d requests, %d of them to be refused; %d responses", len(names), refused, len(Responses()))
}
