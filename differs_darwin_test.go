package standpipe_test

const (
	programWorks = false // for C programs only
	messagesWork = false // no SOCK_SEQPACKET
	listWorks    = true
)

const maxPath = 103 // bytes of a socket's path

// systems are the words of spec/vectors/address for this one.
var systems = []string{"unix", "bsd"}
