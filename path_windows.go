package standpipe

import (
	"fmt"
	"strings"
)

const network = "pipe"

const (
	pipeRoot = `\\.\pipe\`
	// pipeMine is followed by the user's SID. Whoever sits on another user's name fails the check of the owner.
	pipeMine = pipeRoot + `standpipe\`
	// Only administrators may make pipes below ProtectedPrefix\Administrators.
	pipeShared = pipeRoot + `ProtectedPrefix\Administrators\standpipe\`
	// maxPipePath is in characters, and counts \\.\pipe\ ("CreateNamedPipeW", learn.microsoft.com).
	maxPipePath = 256
)

// isPath: also the paths of other systems, so that they get a word of their own rather than one about characters.
func isPath(name string) bool {
	return strings.HasPrefix(name, `\`) || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "@")
}

// rawPath takes a local pipe's path. It allows less than the system does: names with '/', a trailing dot or a trailing
// space can be listened on and not dialled, since CreateFile rewrites them.
func rawPath(name string) (string, error) {
	bad := func(why string, args ...any) (string, error) {
		return "", &fault{kind: ErrBadName, detail: fmt.Sprintf(why, args...)}
	}
	if len(name) < len(pipeRoot) || !strings.EqualFold(name[:len(pipeRoot)], pipeRoot) {
		if strings.HasPrefix(name, `\\`) {
			return bad(`a pipe's path begins with %s; pipes of other machines are not dialled`, pipeRoot)
		}
		return bad(`on Windows a path begins with %s; files and abstract sockets are for Unix`, pipeRoot)
	}
	rest := name[len(pipeRoot):]
	for part := range strings.SplitSeq(rest, `\`) {
		if part == "" {
			return bad(`the path has an empty part`)
		}
		if strings.HasSuffix(part, ".") {
			return bad(`no part of a pipe's path may end with a dot`)
		}
		if i := strings.IndexFunc(part, notPipeChar); i >= 0 {
			return bad(`only letters, digits, '.', '_', '-' and \ may follow %s`, pipeRoot)
		}
	}
	return checkLength(pipeRoot + rest)
}

func notPipeChar(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-')
}

func userPath(bare string) (string, error) { return checkLength(userPrefix() + bare) }

func sharedPath(bare string) (string, error) { return checkLength(pipeShared + bare) }

func userPrefix() string { return pipeMine + currentUser() + `\` }

func checkLength(path string) (string, error) {
	if len(path) > maxPipePath {
		return "", &fault{kind: ErrNameTooLong, detail: fmt.Sprintf("its path has %d characters; a pipe's has at most %d",
			len(path), maxPipePath)}
	}
	return path, nil
}
