package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// shell finds a shell. One that is missing is a failure where everything is to be proved.
func shell(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("STANDPIPE_WITNESS_REQUIRED") == "1":
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is missing: apt-get install %s", name, name)
	return ""
}

// served serves a name that shells can find: XDG_RUNTIME_DIR says where, since their HOME is another.
func served(t *testing.T) string {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	return serveHere(t, newServer())
}

// shellEnv has the command in its path.
func shellEnv(t *testing.T, name string) []string {
	home := t.TempDir() // what shells remember goes there
	return []string{"PATH=" + commandPath(t) + ":" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + os.Getenv("XDG_RUNTIME_DIR"),
		"HOME=" + home, "ZDOTDIR=" + home, "TERM=xterm", "NAME=" + name, "COLUMNS=200"}
}

// bashSession completes as bash does when TAB is pressed.
const bashSession = `
. /usr/share/bash-completion/bash_completion
. <(standpipe completion bash)
compopt() { :; } # it works where somebody types only
try() {
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_TYPE=9 COMP_KEY=9 COMPREPLY=()
	COMP_POINT=${#COMP_LINE}
	__start_standpipe standpipe "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
	printf '%s\n' "${COMPREPLY[@]}"
}
try standpipe desc
try standpipe call "${NAME%??}"
try standpipe call "$NAME" su
try standpipe open "$NAME" co
try standpipe call --codec m
`

func TestCompletionBash(t *testing.T) {
	bash := shell(t, "bash")
	if _, err := os.Stat("/usr/share/bash-completion/bash_completion"); err != nil {
		shell(t, "bash-completion") // it is no program: this says that it is missing
	}
	name := served(t)
	cmd := exec.Command(bash, "--norc", "-c", bashSession)
	cmd.Env = shellEnv(t, name)
	wantWords(t, cmd, "describe", name, "sum", "count", "msgpack")
}

const fishSession = `
standpipe completion fish | source
complete -C "standpipe desc"
complete -C "standpipe call "(string sub -e -2 $NAME)
complete -C "standpipe call $NAME su"
complete -C "standpipe open $NAME co"
complete -C "standpipe call --codec m"
`

func TestCompletionFish(t *testing.T) {
	fish := shell(t, "fish")
	name := served(t)
	cmd := exec.Command(fish, "--no-config", "-c", fishSession)
	cmd.Env = shellEnv(t, name)
	wantWords(t, cmd, "describe", name, "sum", "count", "msgpack")
}

// wantWords runs a session that has to complete to these, one each; behind a word there may be what it means.
func wantWords(t *testing.T, cmd *exec.Cmd, want ...string) {
	t.Helper()
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs.String())
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		got = append(got, strings.TrimSpace(word))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got:\n%s\nwant: %q\n%s", out, want, errs.String())
	}
}

// zsh completes in a terminal only, so here somebody sits at one.
func TestCompletionZsh(t *testing.T) {
	zsh := shell(t, "zsh")
	name := served(t)
	tt := inTerminal(t, shellEnv(t, name), zsh, "-f", "-i")
	// The prompt is made of two parts, so that the words that are typed are not taken for it.
	tt.say("PS1='rea''dy> '; unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u; . <(standpipe completion zsh)\n")
	tt.until("ready> ")
	tt.say("standpipe call " + name[:len(name)-2] + "\tsu\t'[1, 2.5]'\n") // a space comes behind what is complete
	tt.until("3.5")
	tt.until("ready> ")
	tt.say("standpipe call " + name + " \t")
	if list := tt.until("The server's clock."); !strings.Contains(list, "stream: Counts") {
		t.Errorf("zsh shows:\n%s", list)
	}
	tt.say("\x03")
	tt.until("ready> ")
	tt.say("exit\n")
	if _, code := tt.end(); code != 0 && code != 1 && code != 130 { // what the last command ended with
		t.Errorf("zsh ended with %d", code)
	}
}
