//go:build !unix

package capture

import "os"

func pollable(f *os.File) *os.File { return f }
