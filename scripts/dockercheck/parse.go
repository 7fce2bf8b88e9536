package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// instruction is one instruction of a Dockerfile.
type instruction struct {
	line int
	name string            // upper case
	opts map[string]string // options of the form --name=value before the arguments
	rest string            // everything after the options, continuation lines joined
}

// stage is one FROM and the instructions that follow it.
type stage struct {
	image string
	name  string // after AS; may be empty
	steps []instruction
}

// known lists the instructions that this program supports, with their options. Anything else is an error, because
// skipping it would mean testing a different image.
var known = map[string][]string{
	"FROM": {"platform"}, "ARG": nil, "LABEL": nil, "WORKDIR": nil, "COPY": {"from", "chown"}, "RUN": nil, "ENV": nil, "VOLUME": nil, "EXPOSE": nil,
	"USER": nil, "HEALTHCHECK": {"interval", "timeout", "start-period", "retries"}, "ENTRYPOINT": nil, "CMD": nil,
}

// parse splits a Dockerfile into stages.
func parse(text string) ([]stage, error) {
	list, err := instructions(text)
	if err != nil {
		return nil, err
	}
	var stages []stage
	for _, in := range list {
		if in.name == "FROM" {
			if platform, ok := in.opts["platform"]; ok && platform != "$BUILDPLATFORM" {
				return nil, fmt.Errorf("line %d: this check supports no --platform other than $BUILDPLATFORM", in.line)
			}
			fields := strings.Fields(in.rest)
			s := stage{image: fields[0]}
			switch {
			case len(fields) == 3 && strings.EqualFold(fields[1], "AS"):
				s.name = fields[2]
			case len(fields) != 1:
				return nil, fmt.Errorf("line %d: FROM %s: not understood", in.line, in.rest)
			}
			stages = append(stages, s)
			continue
		}
		if len(stages) == 0 {
			return nil, fmt.Errorf("line %d: %s before the first FROM is not understood", in.line, in.name)
		}
		last := &stages[len(stages)-1]
		last.steps = append(last.steps, in)
	}
	if len(stages) == 0 {
		return nil, fmt.Errorf("no FROM")
	}
	return stages, nil
}

// instructions joins continuation lines, drops comments and splits off options.
func instructions(text string) ([]instruction, error) {
	var list []instruction
	var joined string
	begin := 0
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if joined == "" {
			begin = i + 1
		}
		if before, more := strings.CutSuffix(trimmed, `\`); more {
			joined += before
			continue
		}
		in, err := split(begin, joined+trimmed)
		if err != nil {
			return nil, err
		}
		list, joined = append(list, in), ""
	}
	if joined != "" {
		return nil, fmt.Errorf("line %d: the last line ends in a backslash", begin)
	}
	return list, nil
}

func split(line int, text string) (instruction, error) {
	name, rest, _ := strings.Cut(text, " ")
	in := instruction{line: line, name: strings.ToUpper(name), opts: map[string]string{}, rest: strings.TrimSpace(rest)}
	allowed, ok := known[in.name]
	if !ok {
		return in, fmt.Errorf("line %d: this check does not support %s: add it to known, or leave the instruction out", line, in.name)
	}
	for strings.HasPrefix(in.rest, "--") {
		option, after, _ := strings.Cut(in.rest, " ")
		key, value, _ := strings.Cut(strings.TrimPrefix(option, "--"), "=")
		if !slices.Contains(allowed, key) {
			return in, fmt.Errorf("line %d: this check does not know %s --%s", line, in.name, key)
		}
		in.opts[key], in.rest = value, strings.TrimSpace(after)
	}
	if in.rest == "" {
		return in, fmt.Errorf("line %d: %s without arguments", line, in.name)
	}
	return in, nil
}

// words returns the arguments, which must be in exec form (a JSON array), because there is no shell in the final image.
func (in instruction) words() ([]string, error) {
	var words []string
	if err := json.Unmarshal([]byte(in.rest), &words); err != nil || len(words) == 0 {
		return nil, fmt.Errorf("line %d: %s must be a JSON array of words, because the image has no shell", in.line, in.name)
	}
	return words, nil
}

// image holds the instructions of the final stage that matter when the image runs.
type image struct {
	env        []string
	user       string
	volumes    []string
	health     []string
	entrypoint []string
	cmd        []string
}

// describe collects the instructions of the final stage.
func describe(s stage) (image, error) {
	var img image
	for _, in := range s.steps {
		var err error
		switch in.name {
		case "ENV":
			for _, pair := range strings.Fields(in.rest) {
				if !strings.Contains(pair, "=") {
					return img, fmt.Errorf("line %d: ENV %s: write NAME=value without spaces", in.line, pair)
				}
				if strings.Contains(pair, "$") {
					return img, fmt.Errorf("line %d: ENV %s: this check does not expand variables", in.line, pair)
				}
				img.env = append(img.env, pair)
			}
		case "USER":
			img.user = in.rest
		case "VOLUME":
			img.volumes = append(img.volumes, strings.Fields(in.rest)...)
		case "HEALTHCHECK":
			in.rest = strings.TrimSpace(strings.TrimPrefix(in.rest, "CMD"))
			img.health, err = in.words()
		case "ENTRYPOINT":
			img.entrypoint, err = in.words()
		case "CMD":
			img.cmd, err = in.words()
		case "RUN", "WORKDIR":
			err = fmt.Errorf("line %d: %s is in the final stage, where nothing can run it", in.line, in.name)
		}
		if err != nil {
			return img, err
		}
	}
	if img.user == "" || len(img.entrypoint) == 0 || len(img.health) == 0 || len(img.volumes) != 1 {
		return img, fmt.Errorf("the final stage must have USER, ENTRYPOINT, HEALTHCHECK and one VOLUME")
	}
	return img, nil
}
