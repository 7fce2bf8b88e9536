package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/cli"
	"github.com/wayside-proxy/wayside/internal/terminal"
)

func newMark() *cobra.Command {
	var f finder
	var output string
	cmd := &cobra.Command{
		Use: "mark TEXT", Short: "Store a mark with the current time, for example for a deploy",
		Long: "mark stores the current time and a text in the books of the running wayside, to mark a deploy, a migration or an experiment.\n" +
			"GET /api/v1/marks lists all marks. wayside itself sets marks when it starts, reloads and stops. If the books process is\n" +
			"unavailable, mark fails and stores nothing: run it again. The text is one line of at most 200 bytes.",
		Example: "wayside mark 'deploy 1.4.2'",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usagef(cmd, "%s takes a text", cmd.CommandPath())
			}
			if _, err := catalogue.CheckMarkText(strings.Join(args, " ")); err != nil {
				return cli.Usagef(cmd, "%v", err)
			}
			return nil
		},
		RunE: interruptible(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			c, err := f.find(cmd)
			if err != nil {
				return err
			}
			var mark catalogue.Mark
			order := struct {
				Text string `json:"text"`
			}{strings.Join(args, " ")}
			if err := c.JSON(ctx, http.MethodPost, "/api/v1/marks", order, &mark); err != nil {
				return err
			}
			return printResult(cmd, output, mark, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "marked %s: %s\n", mark.Time.Format(time.RFC3339), terminal.Safe(mark.Text))
				return err
			})
		}),
	}
	f.bind(cmd)
	cli.BindOutput(cmd, &output)
	return cmd
}
