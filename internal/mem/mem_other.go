//go:build !linux && !darwin && !windows

package mem

import (
	"errors"
	"os"
)

// Kind is what the hello calls segments of this system. "": there are none.
const Kind = ""

func create(int) (*Segment, error)            { return nil, errors.ErrUnsupported }
func mapFile(*os.File, int) (*Segment, error) { return nil, errors.ErrUnsupported }
func unmap([]byte)                            {}
func protect([]byte, bool, bool)              {}
