package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// listed is an endpoint as list shows it. What is not known, or not this user's to see, is empty.
type listed struct {
	Name      string `json:"name,omitempty"` // other programs' endpoints have none
	Network   string `json:"network"`
	Path      string `json:"path"`
	Owner     string `json:"owner,omitempty"` // uid or SID
	OwnerName string `json:"ownerName,omitempty"`
	PID       int    `json:"pid,omitempty"`
	Program   string `json:"program,omitempty"`
	State     string `json:"state"`
	Kind      string `json:"kind,omitempty"` // of a foreign socket: stream, messages, datagrams
	Instances uint32 `json:"instances,omitempty"`
}

// What an endpoint may be.
const (
	alive   = "alive"
	dead    = "stale"   // its server is gone
	removed = "removed" // its server is there, and its file is not: nobody finds it
)

func newList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List endpoints: name, path, owner, process, program, alive or stale",
		Long: `list prints the endpoints that you may see, your own and the machine's shared ones: name, path, owner, process id,
program, and state, with a tab between two; "-" is what is not known, or not yours to see. On a terminal it is a table.

The state is "alive", "stale" (the server is gone; the next one takes the name over), or "removed" (the server is there, but
somebody has removed its socket file). --all has other programs' endpoints, too: on Linux the sockets that the kernel
knows, on Windows the names of all pipes, which are not opened. Other systems tell nothing of them.`,
		Args: arguments(0, 0, "none"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print a JSON object for each")
	all := cmd.Flags().Bool("all", false, "other programs' sockets and pipes, too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := endpoints(*all)
		if err != nil {
			return err
		}
		return printEndpoints(cmd.OutOrStdout(), list, *asJSON)
	}
	return cmd
}

func printEndpoints(w io.Writer, list []listed, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, e := range list {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(io.Discard, 0, 0, 2, ' ', 0)
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		table.Init(w, 0, 0, 2, ' ', 0)
		w = table
		fmt.Fprintln(w, "NAME\tPATH\tOWNER\tPID\tPROGRAM\tSTATE")
	}
	for _, e := range list {
		pid, owner := "", e.Owner
		if e.PID != 0 {
			pid = strconv.Itoa(e.PID)
		}
		if e.OwnerName != "" {
			owner = e.OwnerName
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", dash(e.Name), dash(e.Path), dash(owner), dash(pid), dash(e.Program), e.State); err != nil {
			return err
		}
	}
	return table.Flush()
}

// dash stands for nothing. Names that others have chosen move no cursor.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return shown(s)
}
