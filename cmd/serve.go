package cmd

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"millrace/internal/config"
	"millrace/stack"
)

func newServe() *cobra.Command {
	var data string
	c := daemonCommand(&cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the HTTP API: search, reports, locks",
		Long: `Run the HTTP API over HTTPS: search, exports, reports, locks and users under /api/v1, with the OpenAPI document
/api/v1/openapi.json, and the calls of the filter vendor's API under /cgi-bin/api. millrace up has it within. Run as
many as you like: one of them acts, where only one may.

At the first start it makes the user admin, and says where the password is. Without api.cert it makes a certificate of
its own, which clients have to be told to trust.`,
		Example: `  millrace serve --config /etc/millrace.yaml
  curl -k -u admin:PASSWORD "https://127.0.0.1:8443/api/v1/search?q=status_norm+is+quarantined"`,
	}, func(soft, hard context.Context, o stack.Options, logTo io.Writer) error {
		ask, err := readerOptions(o.Config, data)
		if err != nil {
			return err
		}
		return stack.RunServe(soft, hard, o, ask, logTo)
	}, func(c *cobra.Command, cfg *config.Config) error {
		if c.Flags().Changed("api") {
			address, _ := c.Flags().GetString("api")
			if err := cfg.API.Address.Set(address); err != nil {
				return usagef("--api %q: %w; allowed: HOST:PORT", address, err)
			}
		}
		return setHTTP(c, &cfg.HTTP.Serve)
	})
	c.Flags().String("api", "", "`HOST:PORT` to answer on, in place of api.address")
	c.Flags().StringVar(&data, "data", "", "data `DIR` of millrace up, with the reader's password, where the configuration has none")
	_ = c.MarkFlagDirname("data")
	return c
}
