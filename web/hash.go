package web

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// scheme is a way to hash passwords.
type scheme struct {
	prefix string // of its hashes
	parse  func(hash string) (verify func(password string) bool, err error)
}

// schemes are those we can read, and newHash is the best we can make.
var (
	schemes = []scheme{{"$argon2id$", parseArgon2}, {"$2", parseBcrypt}, {"$pbkdf2-sha512$", parsePBKDF2}}
	newHash = newArgon2
)

// parseHash reads a hash of any scheme.
func parseHash(hash string) (func(string) bool, error) {
	var names []string
	for _, s := range schemes {
		if strings.HasPrefix(hash, s.prefix) {
			return s.parse(hash)
		}
		names = append(names, strings.Trim(s.prefix, "$"))
	}
	return nil, fmt.Errorf("the hash is none of %s: make it with flowtally web user", strings.Join(names, ", "))
}

const (
	// maxPBKDFPasses is what a file may ask of us for each try to log in.
	minPBKDFPasses, maxPBKDFPasses = 10_000, 10_000_000
	saltBytes, keyBytes            = 16, 32
)

var b64 = base64.RawStdEncoding

func newSalt() []byte {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	return salt
}

func parsePBKDF2(hash string) (func(string) bool, error) {
	parts := strings.Split(hash, "$")
	wrong := errors.New("the pbkdf2-sha512 hash cannot be read")
	if len(parts) != 5 {
		return nil, wrong
	}
	text, ok := strings.CutPrefix(parts[2], "i=")
	passes, err := strconv.Atoi(text)
	if !ok || err != nil {
		return nil, wrong
	}
	if passes < minPBKDFPasses || passes > maxPBKDFPasses {
		return nil, fmt.Errorf("the pbkdf2-sha512 hash wants %d passes, beyond what is allowed here", passes)
	}
	salt, key, ok := saltAndKey(parts[3], parts[4])
	if !ok {
		return nil, wrong
	}
	return func(password string) bool {
		got, err := pbkdf2.Key(sha512.New, password, salt, passes, len(key))
		return err == nil && subtle.ConstantTimeCompare(key, got) == 1
	}, nil
}

// saltAndKey reads the last two parts of a hash in PHC's form.
func saltAndKey(saltText, keyText string) (salt, key []byte, ok bool) {
	salt, err := b64.DecodeString(saltText)
	key, err2 := b64.DecodeString(keyText)
	return salt, key, err == nil && err2 == nil && len(salt) >= 8 && len(salt) <= 64 && len(key) >= 16 && len(key) <= 64
}
