package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
)

// fact is a line of what `who` has to say.
type fact struct{ key, value string }

func newWho() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "who NAME",
		Short: "Say where a name leads, who may connect, and who serves it",
		Long: `who prints the path behind a name, the owner and the mode (on Windows the owner and the DACL) that the kernel holds
clients against, and who is serving, as the kernel vouches for it. It connects for a moment, sends nothing, and takes
any server, since it only looks.`,
		Args: arguments(1, 1, "NAME"),
	}
	cmd.ValidArgsFunction = completeNames
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		addr, err := standpipe.ParseAddr(args[0])
		if err != nil {
			return err
		}
		facts := []fact{{"name", addr.Name()}, {"network", addr.Network()}, {"path", addr.String()}}
		facts = append(facts, endpointFacts(addr.String())...)
		conn, err := dialFor(cmd.Context(), args[0], 0, &standpipe.DialConfig{Policy: standpipe.Anyone()})
		if err == nil {
			facts = append(facts, peerFacts(conn)...)
			conn.Close()
		}
		return errors.Join(err, printFacts(cmd.OutOrStdout(), facts, *asJSON))
	}
	return cmd
}

// peerFacts are what is known of a server.
func peerFacts(conn *standpipe.Conn) []fact {
	id := conn.Identity()
	facts := []fact{{"server", id.String()}}
	if len(id.Groups) > 0 {
		facts = append(facts, fact{"groups", strings.Join(id.Groups, " ")})
	}
	program, err := conn.Program()
	if err != nil {
		program = "unknown: " + err.Error()
	}
	facts = append(facts, fact{"program", program})
	admitted := "not by the default policy of Dial: it is neither you nor the superuser"
	switch {
	case (standpipe.Policy{}).Admits(id):
		admitted = "by the default policy of Dial: it is you"
	case superuser().Admits(id):
		admitted = "by the default policy of Dial: it is the superuser"
	}
	return append(facts, fact{"admitted", admitted})
}

func printFacts(w io.Writer, facts []fact, asJSON bool) error {
	if asJSON {
		object := map[string]string{}
		for _, f := range facts {
			object[f.key] = f.value
		}
		line, err := json.Marshal(object)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", line)
		return err
	}
	for _, f := range facts {
		if _, err := fmt.Fprintf(w, "%-10s %s\n", f.key+":", f.value); err != nil {
			return err
		}
	}
	return nil
}
