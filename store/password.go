package store

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// scramIterations is the number that PostgreSQL uses.
const scramIterations = 4096

// scramVerifier returns what PostgreSQL stores of a password under SCRAM-SHA-256
// (RFC 5803, spelled as PostgreSQL does). A statement with it keeps the password itself
// out of the server's log. It refuses passwords beyond ASCII, which would have to be
// normalised first (SASLprep).
func scramVerifier(password string) (string, error) {
	if password == "" {
		return "", errors.New("the password is empty")
	}
	for _, c := range []byte(password) {
		if c < 0x20 || c > 0x7e {
			return "", errors.New("the password has a character that is not printable ASCII")
		}
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	return scramWith(password, salt)
}

// scramWith returns the verifier with a given salt.
func scramWith(password string, salt []byte) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", err
	}
	sum := func(text string) []byte {
		m := hmac.New(sha256.New, salted)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	stored := sha256.Sum256(sum("Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, b64(salt), b64(stored[:]), b64(sum("Server Key"))), nil
}
