package store

import (
	"errors"
	"maps"
	"testing"

	"flowtally/store/row"
)

// The check at start finds a column that is missing or has another type.
func TestCheckColumns(t *testing.T) {
	good := make(map[string]uint32)
	for _, c := range row.Table {
		good[c.Name] = c.OID
	}
	if err := checkColumns(good); err != nil {
		t.Errorf("the right columns: %v", err)
	}
	for _, c := range row.Table {
		missing, other := maps.Clone(good), maps.Clone(good)
		delete(missing, c.Name)
		other[c.Name]++
		if err := checkColumns(missing); !errors.Is(err, ErrSchema) {
			t.Errorf("without %s: %v", c.Name, err)
		}
		if err := checkColumns(other); !errors.Is(err, ErrSchema) {
			t.Errorf("with %s of another type: %v", c.Name, err)
		}
	}
}

// RFC 7677 §3's exchange is of the password "pencil" and this salt.
func TestScramVerifier(t *testing.T) {
	a, err := scramVerifier("pencil")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := scramVerifier("pencil"); a == b {
		t.Error("two verifiers have one salt")
	}
	for _, password := range []string{"", "schön", "a\nb"} {
		if _, err := scramVerifier(password); err == nil {
			t.Errorf("password %q is taken", password)
		}
	}
}
