package configs

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
)

// Handover is the configuration in effect as wayside run hands it to the books process, so that a file edited since cannot split the two
// processes: gob, because it keeps the secrets that the text forms leave out. It goes through a pipe.
func (c *Config) Handover() ([]byte, error) {
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(c.ForBooks()); err != nil {
		return nil, fmt.Errorf("encode configuration for the books process: %w", err)
	}
	return buf.Bytes(), nil
}

// ReadHandover reads what [Config.Handover] has made.
func ReadHandover(r io.Reader) (*Config, error) {
	var cfg Config
	if err := gob.NewDecoder(r).Decode(&cfg); err != nil {
		return nil, fmt.Errorf("read the configuration that wayside run hands over: %w", err)
	}
	return &cfg, nil
}
