package rpc_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/standpipe/standpipe/pipetest"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := floorChild(name); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	pipetest.Main(m)
}
