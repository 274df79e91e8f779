package prompipe_test

import (
	"testing"

	"github.com/standpipe/standpipe/pipetest"
)

func TestMain(m *testing.M) { pipetest.Main(m) }
