// Command flowtally turns mirrored packets into answers: an exporter meters
// packets into NetFlow v5, v9 or IPFIX, a collector stores what any exporter
// sends in PostgreSQL, and a web console, this command line and plain SQL ask
// who talks, how much, and how many flows.
package main

import (
	"os"

	"flowtally/command"
)

// version is set by the build (-ldflags "-X main.version=…").
var version string

func main() { os.Exit(command.Main(version)) }
