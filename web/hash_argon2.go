package web

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// How we hash: argon2id with the second recommendation of RFC 9106 section 4,
// which fits into a small machine.
const (
	argonMemory  = 64 << 10 // KiB
	argonTime    = 3
	argonThreads = 4
)

// What a file may ask of us, for each try to log in.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonTime   = 16
	maxBcryptCost  = 14
)

func newArgon2(password string) (string, error) {
	salt := newSalt()
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, keyBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

func parseArgon2(hash string) (func(string) bool, error) {
	parts := strings.Split(hash, "$")
	var (
		version, memory, passes uint32
		threads                 uint8
	)
	wrong := errors.New("the argon2id hash cannot be read")
	if len(parts) != 6 {
		return nil, wrong
	}
	if n, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &passes, &threads); err != nil || n != 4 || version != argon2.Version {
		return nil, wrong
	}
	if passes < 1 || passes > maxArgonTime || threads < 1 || memory < 8*uint32(threads) || memory > maxArgonMemory {
		return nil, fmt.Errorf("the argon2id hash wants m=%d,t=%d,p=%d, beyond what is allowed here", memory, passes, threads)
	}
	salt, key, ok := saltAndKey(parts[4], parts[5])
	if !ok {
		return nil, wrong
	}
	return func(password string) bool {
		return subtle.ConstantTimeCompare(key, argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(key)))) == 1
	}, nil
}

func parseBcrypt(hash string) (func(string) bool, error) {
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return nil, errors.New("the bcrypt hash cannot be read")
	}
	if cost > maxBcryptCost {
		return nil, fmt.Errorf("the bcrypt hash has cost %d, more than %d", cost, maxBcryptCost)
	}
	return func(password string) bool {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}, nil
}
