package standpipe_test

const (
	programWorks = true
	messagesWork = true
	listWorks    = true
)
