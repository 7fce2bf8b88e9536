package configs

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
)

// Handover encodes the configuration that `wayside run` passes to the books process through a pipe. So both processes have the same
// configuration, even if the file has changed in the meantime. The encoding is gob, because the text forms omit secrets.
func (c *Config) Handover() ([]byte, error) {
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(c.ForBooks()); err != nil {
		return nil, fmt.Errorf("encode configuration for the books process: %w", err)
	}
	return buf.Bytes(), nil
}

// ReadHandover reads the result of [Config.Handover].
func ReadHandover(r io.Reader) (*Config, error) {
	var cfg Config
	if err := gob.NewDecoder(r).Decode(&cfg); err != nil {
		return nil, fmt.Errorf("read the configuration from wayside run: %w", err)
	}
	return &cfg, nil
}
