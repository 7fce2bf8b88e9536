package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// profileWayside puts the last load on wayside again, and fetches a CPU profile from the admin listener in the meantime.
func (f *setup) profileWayside(ctx context.Context) error {
	for _, c := range f.contestants {
		if c.admin == "" {
			continue
		}
		seconds := int(max(f.duration, 5*time.Second).Seconds())
		profile := make(chan error, 1)
		go func() {
			text, err := get(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", strings.TrimSuffix(c.admin, "/"), seconds))
			if err == nil {
				err = os.WriteFile(f.profile, text, 0o600)
			}
			profile <- err
		}()
		load := time.Duration(seconds+1) * time.Second
		_, err := f.put(ctx, c, f.loads[len(f.loads)-1], load)
		if err := errors.Join(err, <-profile); err != nil {
			return fmt.Errorf("profile wayside: %w", err)
		}
		fmt.Fprintf(os.Stderr, "CPU profile of wayside's traffic process: %s\n", f.profile)
		return nil
	}
	return errors.New("-profile needs the contestant wayside")
}
