package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// ConfigFile stores the configuration of the last books process that used the directory. Unlike run.json, it is kept
// when the run ends.
const ConfigFile = "last-config.json"

// ConfigFormat is the version of [ConfigFile].
const ConfigFormat = 1

// configBytesMax limits the size of the file, which is usually a few hundred bytes.
const configBytesMax = 1 << 20

// Config is the content of [ConfigFile]. It contains no secrets.
type Config struct {
	Format  int               `json:"format"` // [ConfigFormat]; set by WriteConfig
	Version string            `json:"version"`
	Keys    map[string]string `json:"keys"` // path of a key in the configuration → its value as text
}

// WriteConfig replaces the file atomically, readable only by its owner. The caller holds [CollectLock].
func WriteConfig(dir string, c Config) error {
	c.Format = ConfigFormat
	return writeJSON(dir, ConfigFile, c, 0o600)
}

// ReadConfig reads the file. If there is no such file, as in a directory of an older version, it returns a zero Config.
func ReadConfig(dir string) (c Config, err error) {
	name := filepath.Join(dir, ConfigFile)
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return Config{}, nil
	}
	if err != nil {
		return c, fmt.Errorf("read %s: %w", ConfigFile, err)
	}
	defer func() { _ = file.Close() }()
	body, err := io.ReadAll(io.LimitReader(file, configBytesMax))
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read %s: %w: remove it, and name the archive with --archive or --config", name, err)
	}
	if c.Format > ConfigFormat {
		return c, fmt.Errorf("%s was written by wayside %s in format %d, but this version supports only format %d: use the version that ran there",
			name, c.Version, c.Format, ConfigFormat)
	}
	return c, nil
}
