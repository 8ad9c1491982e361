package web

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// TestHashes: whoever made the hash, its password is right and no other is.
func TestHashes(t *testing.T) {
	const password = "right horse"
	ours, err := newHash(password)
	if err != nil || !strings.HasPrefix(ours, "$argon2id$") {
		t.Fatalf("%s, %v", ours, err)
	}
	crypt, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	salt := []byte("0123456789abcdef")
	small := fmt.Sprintf("$argon2id$v=%d$m=8,t=1,p=1$%s$%s", argon2.Version, b64.EncodeToString(salt),
		b64.EncodeToString(argon2.IDKey([]byte(password), salt, 1, 8, 1, 32)))
	for name, hash := range map[string]string{"ours": ours, "bcrypt": string(crypt), "argon2id_of_others": small, "pbkdf2": hashOf(t, password)} {
		verify, err := parseHash(hash)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !verify(password) || verify("right hors") || verify("") {
			t.Errorf("%s: does not tell passwords apart", name)
		}
	}
	for name, hash := range map[string]string{
		"argon2i":        strings.Replace(ours, "argon2id", "argon2i", 1),
		"much_memory":    strings.Replace(ours, "m=65536", "m=4294967295", 1),
		"many_passes":    strings.Replace(ours, "t=3", "t=4000000", 1),
		"no_salt":        "$argon2id$v=19$m=65536,t=3,p=4$$MDEyMzQ1Njc4OWFiY2RlZg",
		"bcrypt_cut":     string(crypt[:20]),
		"bcrypt_endless": strings.Replace(string(crypt), "$04$", "$31$", 1),
		"md5":            "$1$salt$hash",
	} {
		if _, err := parseHash(hash); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}
