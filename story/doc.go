// Package story holds the end-to-end tests, and nothing else: a packet on its way
// to the page, collectors and servers that are killed, exporters that are not ours,
// mirrors of virtual machines, and what the repository promises of itself.
package story
