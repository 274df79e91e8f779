package standpipe_test

const (
	programWorks = true
	messagesWork = true
	listWorks    = true
)

const maxPath = 107 // bytes of a socket's path

// systems are the words of spec/vectors/address for this one.
var systems = []string{"unix", "linux"}
