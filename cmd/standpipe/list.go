package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
)

func newList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the names that are being served",
		Long: `list prints the names that are being served and that you may see, each with its path: your own, and the machine's
shared ones. Endpoints with a path of their own have no name and are not found.`,
		Args: arguments(0, 0, "none"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print a JSON object for each")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		addrs, err := standpipe.List()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if !*asJSON {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", a.Name(), a)
				continue
			}
			line, err := json.Marshal(map[string]string{"name": a.Name(), "network": a.Network(), "path": a.String()})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line)
		}
		return nil
	}
	return cmd
}
