package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/admin/client"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/demo"
	"github.com/wayside-proxy/wayside/internal/sampleapp"
	"github.com/wayside-proxy/wayside/process/books"
	"github.com/wayside-proxy/wayside/process/traffic"
	"github.com/wayside-proxy/wayside/uploader"
)

type demoFlags struct {
	requests uint64
	duration time.Duration
	dataDir  string
	seed     uint64
	rate     float64
	settle   time.Duration
	output   string

	temporary bool // whether dataDir is removed at the end
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use: "demo", Short: "Try wayside with a sample app and sample traffic",
		Long: "demo starts a small sample application with wayside in front of it, and sends realistic traffic. At the end it compares\n" +
			"the responses that the clients received with the figures of the books, the statistics and the archive, and exits 0\n" +
			"only if they agree. Without --requests and --duration it runs until Ctrl-C, so that you can look at the dashboard.",
		Example: "wayside demo --requests 5000",
		Args:    cli.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if f.duration < 0 || f.rate < 0 {
				return cli.Usagef(cmd, "--duration and --rate must not be negative")
			}
			return nil
		},
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			return runDemo(ctx, f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}),
	}
	cmd.Flags().Uint64Var(&f.requests, "requests", 0, "end after exactly this many requests")
	cli.DurationVar(cmd, &f.duration, "duration", 0, "end after this long")
	cmd.Flags().StringVar(&f.dataDir, "data", "", "data directory (default a temporary one, removed at the end)")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "the same seed sends the same requests")
	cmd.Flags().Float64Var(&f.rate, "rate", 0, "requests a second (default 300, or full speed with --requests)")
	cli.DurationVar(cmd, &f.settle, "settle-timeout", 30*time.Second, "how long to wait for the books to settle after the last request")
	cli.BindOutput(cmd, &f.output)
	return cmd
}

func runDemo(ctx context.Context, f demoFlags, out, logTo io.Writer) (err error) {
	if f.dataDir == "" {
		f.temporary = true
		if f.dataDir, err = os.MkdirTemp("", "wayside-demo-"); err != nil {
			return fmt.Errorf("make a temporary data directory: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(f.dataDir)) }()
	}
	app, stopApp, err := sampleapp.Start(sampleapp.Options{Seed: f.seed})
	if err != nil {
		return fmt.Errorf("start the sample app: %w", err)
	}
	defer stopApp()
	cfg, err := demoConfig(f.dataDir, app)
	if err != nil {
		return err
	}
	proxyCtx, stopProxy := context.WithCancel(context.WithoutCancel(ctx))
	defer stopProxy()
	ready, ended := make(chan datadir.Info, 1), make(chan error, 1)
	go func() {
		ended <- traffic.Run(proxyCtx, traffic.Options{
			Config: cfg, LogTo: logTo, AccessTo: io.Discard, Version: version, Commit: revision(), Started: func(info datadir.Info) { ready <- info },
		})
	}()
	select {
	case err := <-ended:
		return err
	case info := <-ready:
		err = driveDemo(ctx, f, cfg, info, out)
	}
	stopProxy()
	return errors.Join(err, <-ended)
}

// demoConfig returns the default configuration, with free ports and few log lines. It ignores the environment, so a demo is the same on
// every machine.
func demoConfig(dataDir, upstream string) (*configs.Config, error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return nil, err
	}
	return configs.Load(configs.LoadOptions{Flags: map[string]string{
		"listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0", "data.dir": dir, "upstream": upstream,
		"service": "demo", "instance": "demo", "log.level": "warn",
	}})
}

func driveDemo(ctx context.Context, f demoFlags, cfg *configs.Config, info datadir.Info, out io.Writer) error {
	running := client.New(info.Admin, "")
	target, err := books.OpenTarget(ctx, cfg, nil)
	if err != nil {
		return err
	}
	return demo.Run(ctx, demo.Options{
		Requests: f.requests, Duration: f.duration, Rate: f.rate, Seed: f.seed,
		ProxyURL: "http://" + info.Listen, AdminURL: info.Admin, ArchiveURL: info.Archive, Out: out, Output: f.output, SettleTimeout: f.settle, Temporary: f.temporary,
		Archive: func(ctx context.Context) error {
			_, err := running.Send(ctx, http.MethodPost, admin.PathJob+"archive?all=true", http.NoBody)
			return err
		},
		CountArchive: func(ctx context.Context) (int, error) {
			count, err := uploader.CountTarget(ctx, target)
			return count.Rows, err
		},
	})
}
