package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
)

// ailments are all verdicts, by the word that scripts build on, with their exit codes.
var ailments = []struct {
	word string
	code int
	text string
}{
	{"ok", exitOK, "it can be reached"},
	{"not-socket", exitFailed, "the path leads to something that is no endpoint"},
	{"not-folder", exitFailed, "a part of the path that should be a folder is none"},
	{"link-loop", exitFailed, "the path's links go in a circle"},
	{"wrong-type", exitFailed, "it is a socket of datagrams, or of messages"},
	{"busy", exitFailed, "the server's queue is full; on Windows: every instance of the pipe is taken"},
	{"hung", exitFailed, "the server lets clients wait in its queue"},
	{"bad-folder", exitFailed, "nobody can listen there: the folder has the wrong owner or mode"},
	{"bad-name", exitUsage, "it can't be a name"},
	{"too-long", exitUsage, "the path is longer than the system takes"},
	{"remote", exitUsage, "it is a pipe of another machine"},
	{"missing", exitNoServer, "nobody serves that name"},
	{"no-folder", exitNoServer, "the folder is not there"},
	{"dangling", exitNoServer, "a link leads to nothing"},
	{"stale", exitNoServer, "the server that made it is gone"},
	{"not-listening", exitNoServer, "a process has bound the socket, but does not listen"},
	{"removed", exitNoServer, "the server is there, but its socket file is gone or another's"},
	{"elsewhere", exitNoServer, "that name is served for another user, folder or network namespace"},
	{"folder-denied", exitDenied, "a folder on the way can't be passed"},
	{"link-denied", exitDenied, "the kernel does not follow that link (fs.protected_symlinks)"},
	{"socket-denied", exitDenied, "the socket's mode or ACL does not let this user connect"},
	{"pipe-denied", exitDenied, "the pipe's DACL does not let this user connect"},
	{"old-session", exitDenied, "the user is of the group, but this session began before that"},
	{"network-logon", exitDenied, "the pipe refuses logons over the network, such as this one"},
	{"kernel-denied", exitDenied, "modes and ACLs allow it, and something else in the kernel does not"},
	{"turned-away", exitDenied, "the server ended the connection without a word: its policy"},
	{"wrong-server", exitDenied, "somebody serves it who is not expected: perhaps a squatter"},
}

// remedy is what mends an ailment: a command, or code, and who is to do it; or only advice.
type remedy struct {
	About string `json:"about"`
	Run   string `json:"run,omitempty"`
	Code  string `json:"code,omitempty"`
}

// diagnosis is what doctor says.
type diagnosis struct {
	word, text string
	evidence   []fact
	mend       []remedy
}

// is sets the verdict.
func (d *diagnosis) is(word, format string, args ...any) {
	d.word, d.text = word, fmt.Sprintf(format, args...)
}

// note adds evidence.
func (d *diagnosis) note(key, format string, args ...any) {
	d.evidence = append(d.evidence, fact{key, fmt.Sprintf(format, args...)})
}

func (d *diagnosis) run(about, format string, args ...any) {
	d.mend = append(d.mend, remedy{About: about, Run: fmt.Sprintf(format, args...)})
}

func (d *diagnosis) program(about, format string, args ...any) {
	d.mend = append(d.mend, remedy{About: about, Code: fmt.Sprintf(format, args...)})
}

func (d *diagnosis) advise(format string, args ...any) {
	d.mend = append(d.mend, remedy{About: fmt.Sprintf(format, args...)})
}

// code is the exit code of the verdict.
func (d *diagnosis) code() int {
	for _, a := range ailments {
		if a.word == d.word {
			return a.code
		}
	}
	return exitFailed
}

// concluded is an error that says nothing more: the command has printed its result, and the program ends with code.
type concluded struct{ code int }

func (e concluded) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// patient is what is to be looked at, and for how long.
type patient struct {
	name    string
	addr    standpipe.Addr
	policy  standpipe.Policy // who may be serving
	asked   bool             // policy was given by --policy
	timeout time.Duration    // for a server to take the connection
	quiet   time.Duration    // for it to say something, or to hang up
}

func newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor NAME",
		Short: "Say why a client can't connect, and what mends it",
		Long:  doctorHelp(),
		Args:  arguments(1, 1, "NAME or PATH"),
	}
	cmd.ValidArgsFunction = completeNames
	policy := policyFlag(cmd, "who should be serving (default: you or the superuser; another program's endpoint: anyone)")
	timeout := cmd.Flags().Duration("timeout", 2*time.Second, "how long the server may take to accept a connection")
	quiet := cmd.Flags().Duration("quiet", 300*time.Millisecond, "how long to wait for the server to say something, or to hang up")
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p := patient{name: args[0], timeout: *timeout, quiet: *quiet, asked: cmd.Flags().Changed("policy")}
		var err error
		if p.policy, err = policy(); err != nil {
			return err
		}
		if !p.asked {
			p.policy = standpipe.User(selfID()).Or(superuser())
		}
		d := examine(cmd.Context(), p)
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if err := d.print(cmd.OutOrStdout(), p, *asJSON); err != nil {
			return err
		}
		if code := d.code(); code != exitOK {
			return concluded{code}
		}
		return nil
	}
	return cmd
}

func doctorHelp() string {
	var b strings.Builder
	b.WriteString(`doctor follows the path behind a name as the kernel does, connects for a moment, and sends nothing. It prints a verdict,
the evidence, and the command or the code that mends what is wrong. It takes any endpoint, also other programs'.

The verdict begins with one of these words; the number is the exit code.

`)
	for _, a := range ailments {
		fmt.Fprintf(&b, "  %-14s %d  %s\n", a.word, a.code, a.text)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// examine finds the verdict. What this system's endpoints may suffer from is checkUp's.
func examine(ctx context.Context, p patient) *diagnosis {
	d := &diagnosis{}
	addr, err := standpipe.ParseAddr(p.name)
	if err != nil {
		misnamed(d, p.name, err)
		return d
	}
	p.addr = addr
	d.note("path", "%s", shown(addr.String()))
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	checkUp(ctx, d, p)
	return d
}

// misnamed: no endpoint can be called so.
func misnamed(d *diagnosis, name string, err error) {
	var detail = err
	for next := errors.Unwrap(detail); next != nil; next = errors.Unwrap(next) {
		detail = next // the envelope says "parse", and the name, of which the verdict has enough
	}
	switch {
	case remotePipe(name):
		d.is("remote", "%s is a pipe of another machine; standpipe's pipes take no clients from the network", shown(name))
		d.advise(`on the same machine its path begins with \\.\pipe\; to another one, use what is made for networks, such as SSH`)
	case errors.Is(err, standpipe.ErrNameTooLong):
		d.is("too-long", "%s", shown(detail.Error()))
		d.note("length", "%d bytes", len(name))
		d.advise("take a shorter name or a shorter folder; under a NAME without a folder, the path is shortened by itself")
	default:
		d.is("bad-name", "%s", shown(detail.Error()))
		proposal(d, name)
	}
}

// remotePipe: \\HOST\pipe\NAME, where HOST is not this machine by its name for itself.
func remotePipe(name string) bool {
	rest, unc := strings.CutPrefix(strings.ReplaceAll(name, "/", `\`), `\\`)
	parts := strings.Split(rest, `\`)
	return unc && len(parts) > 2 && parts[0] != "." && parts[0] != "?" && strings.EqualFold(parts[1], "pipe")
}

// print writes the verdict first, then what it is based on, then what mends it.
func (d *diagnosis) print(w io.Writer, p patient, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false) // links are written with an arrow
		return enc.Encode(struct {
			Name     string   `json:"name"`
			Verdict  string   `json:"verdict"`
			Text     string   `json:"text"`
			Code     int      `json:"code"`
			Evidence []clue   `json:"evidence"`
			Mend     []remedy `json:"mend"`
		}{p.name, d.word, d.text, d.code(), clues(d.evidence), append([]remedy{}, d.mend...)})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", d.word, d.text)
	for _, f := range d.evidence {
		fmt.Fprintf(&b, "  %-10s %s\n", f.key+":", f.value)
	}
	for _, m := range d.mend {
		switch {
		case m.Run != "":
			fmt.Fprintf(&b, "mend, %s:\n    %s\n", m.About, m.Run)
		case m.Code != "":
			fmt.Fprintf(&b, "mend, %s:\n    %s\n", m.About, m.Code)
		default:
			fmt.Fprintf(&b, "mend: %s\n", m.About)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// clue is a fact in JSON: the evidence has an order, and its keys may come more than once.
type clue struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func clues(facts []fact) []clue {
	list := []clue{}
	for _, f := range facts {
		list = append(list, clue{f.key, f.value})
	}
	return list
}
