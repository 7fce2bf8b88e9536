package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/internal/report"
	"github.com/wayside-proxy/wayside/internal/terminal"
)

// pathBackup is the admin listener's path for making a backup.
const pathBackup = "/-/backup"

func newBackup() *cobra.Command {
	var f finder
	var output string
	cmd := &cobra.Command{
		Use: "backup DIR", Short: "Copy the data directory of the running wayside, as it is at one moment",
		Long: "backup creates DIR, a data directory with the books as they were at one moment. DIR must not exist yet. Traffic and\n" +
			"recording continue, but for a moment no events are applied. The running wayside writes DIR as its own user. Until all of\n" +
			"DIR is on disk, it is called DIR.incomplete, and no wayside starts on it. An archive inside the data directory is copied as\n" +
			"well, as hard links if DIR is on the same filesystem; an archive elsewhere is not copied. To restore, start wayside on DIR\n" +
			"or a copy of it, while no other wayside uses the same archive under the same service and instance names. If no wayside is\n" +
			"running, copy the data directory with cp -a.",
		Example: "wayside backup /backup/wayside-$(date +%F) --data ./wayside-data",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usagef(cmd, "%s takes the name of the folder to create, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			answer, err := f.backUp(ctx, cmd, args[0])
			if err != nil {
				return err
			}
			return printResult(cmd, output, answer, func(w io.Writer) error { return report.BackedUp(w, answer) })
		}),
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	return cmd
}

func (f *finder) backUp(ctx context.Context, cmd *cobra.Command, name string) (*admin.BackupAnswer, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	c, cfg, err := f.locate(cmd)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fmt.Errorf("%w in %s: copy the directory itself: cp -a %[2]s %s", datadir.ErrNotRunning, cfg.Data.Dir, dir)
	}
	bar := terminal.NewProgress(cmd.ErrOrStderr(), "copying to "+dir)
	defer bar.End()
	var answer admin.BackupAnswer
	return &answer, c.JSON(ctx, http.MethodPost, pathBackup, admin.BackupOrder{Dir: dir}, &answer)
}
