package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the man pages to a folder",
		Long: `man writes a man page for standpipe and one for each command to DIR, which it makes where there is none. Where DIR is in
the path of man, as /usr/local/share/man/man1 is on most systems, "man standpipe-call" shows one.`,
		Example: "  standpipe man /usr/local/share/man/man1",
		Args:    arguments(1, 1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := newRoot()
			root.InitDefaultCompletionCmd()
			root.InitDefaultVersionFlag()
			return writePages(root, args[0], thisBuild())
		},
	}
}

// writePages writes the pages of a command and of those below it. Their date is the commit's, so that the same sources give
// the same pages.
func writePages(cmd *cobra.Command, dir string, b build) error {
	if !cmd.IsAvailableCommand() && cmd.HasParent() {
		return nil
	}
	for _, sub := range cmd.Commands() {
		if err := writePages(sub, dir, b); err != nil {
			return err
		}
	}
	asMarkdown(cmd)
	header := doc.GenManHeader{Section: "1", Source: "standpipe", Manual: "standpipe"}
	if !b.made.IsZero() && os.Getenv("SOURCE_DATE_EPOCH") == "" { // cobra obeys that one by itself
		header.Date = &b.made
	}
	var page bytes.Buffer
	if err := doc.GenMan(cmd, &header, &page); err != nil {
		return fmt.Errorf("the page of %s: %w", cmd.CommandPath(), err)
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
	return os.WriteFile(filepath.Join(dir, name), taggedOptions(page.Bytes()), 0o644)
}

// asMarkdown escapes a command's texts, since cobra takes them for Markdown.
func asMarkdown(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true // which would be a date, and an advertisement
	cmd.Short, cmd.Long = escapeMarkdown(cmd.Short), escapeMarkdown(cmd.Long)
	escape := func(f *pflag.Flag) { f.Usage = escapeMarkdown(f.Usage) }
	cmd.Flags().VisitAll(escape)
}

var markdownSigns = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "#", `\#`)

// escapeMarkdown escapes what has a meaning in Markdown, but for lines that are indented: those are shown as they are.
func escapeMarkdown(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "    ") {
			line = markdownSigns.Replace(line)
		}
		b.WriteString(line)
	}
	return b.String()
}

// taggedOptions makes tagged paragraphs of the options: cobra's page has a tab within a paragraph, which each program shows
// in its own way.
func taggedOptions(page []byte) []byte {
	lines := strings.SplitAfter(string(page), "\n")
	for i := 2; i < len(lines); i++ {
		text, ok := strings.CutPrefix(lines[i], "\t")
		if !ok || !strings.HasPrefix(lines[i-1], `\fB-`) {
			continue
		}
		lines[i] = text
		if lines[i-2] == ".PP\n" {
			lines[i-2] = ""
		}
		lines[i-1] = ".TP\n" + lines[i-1]
	}
	return []byte(strings.Join(lines, ""))
}
