package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// pictures runs a script that takes screenshots of the dashboard. Its arguments are the dashboard's address, the folder for the pictures,
// and args.
func (r *replay) pictures(ctx context.Context, script string, args ...string) error {
	folder, err := filepath.Abs(r.shots)
	if err != nil {
		return err
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, "node", append([]string{script, r.w.Info().Admin, folder}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join("collector", "api", "dashboard"), os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pictures: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.png"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if at, err := os.Stat(file); err != nil || at.ModTime().Before(began) {
			continue // the file is from an earlier run
		}
		if err := shrink(file); err != nil {
			return fmt.Errorf("pictures: %s: %w", file, err)
		}
	}
	return nil
}

// shrink rewrites a picture with its 256 most frequent colors. This reduces the file of a screenshot to about a third of its size.
func shrink(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	from, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return err
	}
	bounds, counts := from.Bounds(), map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(from.At(x, y)).(color.RGBA) }
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int { return cmp.Compare(counts[b], counts[a]) })
	var palette color.Palette
	for _, c := range frequent[:min(len(frequent), 256)] {
		palette = append(palette, c)
	}
	nearest := map[color.RGBA]uint8{}
	for _, c := range frequent {
		nearest[c] = uint8(palette.Index(c))
	}
	to := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			to.SetColorIndex(x, y, nearest[at(x, y)])
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// report writes the report of the week to a file.
func (r *replay) report(ctx context.Context) (string, error) {
	page, err := r.wayside(ctx, "report", "--week", "--output", "html")
	if err != nil {
		return "", fmt.Errorf("wayside report: %w: %s", err, page)
	}
	file := filepath.Join(r.dir, "report.html")
	return file, os.WriteFile(file, []byte(page), 0o600)
}

// topScreen runs `wayside top` in a real terminal, and writes what it shows, with its colors, to a file.
func (r *replay) topScreen(ctx context.Context, window string) (string, error) {
	socket := filepath.Join(r.dir, "tmux")
	tmux := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "tmux", append([]string{"-S", socket}, args...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := tmux("new-session", "-d", "-x", "124", "-y", "17", r.w.Binary, "top", "--data", r.w.DataDir, "--window", window); err != nil {
		return "", fmt.Errorf("tmux: %w: %s", err, out)
	}
	defer func() { _, _ = tmux("kill-server") }()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		screen, err := tmux("capture-pane", "-p", "-e")
		if err != nil {
			return "", fmt.Errorf("tmux: %w: %s", err, screen)
		}
		if strings.Contains(screen, "/checkout") {
			file := filepath.Join(r.dir, "top.txt")
			return file, os.WriteFile(file, []byte(screen), 0o600)
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("wayside top shows no paths:\n%s", screen)
		}
	}
}
