package main

import (
	"os"
	"strings"
	"testing"
)

func TestParseRefusesWhatItDoesNotKnow(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "no FROM",
		"RUN true":                            "before the first FROM",
		"FROM a\nADD x /":                     "does not support ADD",
		"FROM a\nCOPY --link x /":             "does not know COPY --link",
		"FROM a\nRUN --mount=type=cache true": "does not know RUN --mount",
		"FROM a\nRUN":                         "without arguments",
		"FROM a\nRUN true \\":                 "ends in a backslash",
		"FROM --platform=x a":                 "supports no --platform other than",
		"FROM a b":                            "not understood",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestDescribeRefusesAShell(t *testing.T) {
	stages, err := parse("FROM a\nUSER 1\nVOLUME /d\nENTRYPOINT [\"/x\"]\nHEALTHCHECK CMD /x health\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := describe(stages[0]); err == nil || !strings.Contains(err.Error(), "JSON array") {
		t.Errorf("got %v", err)
	}
	stages, err = parse("FROM a\nRUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := describe(stages[0]); err == nil || !strings.Contains(err.Error(), "RUN is in the final stage") {
		t.Errorf("got %v", err)
	}
}

func TestOwnDockerfile(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	stages, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 2 || stages[0].name != "build" {
		t.Fatalf("got %d stages", len(stages))
	}
	img, err := describe(stages[1])
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Join(img.env, " ")
	if env != "WAYSIDE_DEFAULT_LISTEN=:8090 WAYSIDE_DEFAULT_DATA=/data WAYSIDE_DEFAULT_ADMIN_PROBES=:8092" {
		t.Errorf("environment %s", env)
	}
	if img.user != "65532:65532" || strings.Join(img.entrypoint, " ") != "/wayside" || strings.Join(img.cmd, " ") != "run" ||
		strings.Join(img.health, " ") != "/wayside health" {
		t.Errorf("got %+v", img)
	}
}

// TestImageSaysWhatItIs: the image has labels for its commit, version and license, which are build arguments, as the
// architecture is. It contains the licenses of everything in it, and its base images have fixed versions.
func TestImageSaysWhatItIs(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	stages, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, wants := range [][]string{
		{"ARG TARGETOS", "ARG TARGETARCH", "GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build", "-X main.commit=${COMMIT}"},
		{"image.revision=\"${COMMIT}\"", "image.version=\"${VERSION}\"", "image.licenses=\"Apache-2.0\"", "image.source=", "/src/LICENSE /src/NOTICE /src/THIRD_PARTY_LICENSES /licenses/"},
	} {
		s, all := stages[i], ""
		for _, step := range s.steps {
			all += step.name + " " + step.rest + "\n"
		}
		for _, want := range wants {
			if !strings.Contains(all, want) {
				t.Errorf("stage %d has no %s:\n%s", i, want, all)
			}
		}
		if _, tag, ok := strings.Cut(s.image, ":"); !ok || tag == "latest" {
			t.Errorf("stage %d stands on %s, which is another image every month", i, s.image)
		}
	}
}
