package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// A device is a browser in which somebody has logged in before. It keeps a
// cookie that says so, and its tries are counted apart from everybody else's: who
// guesses at a user's password from elsewhere uses up the tries of strangers, and
// cannot lock the user out.
//
// The cookie is a number and its code under the hash of the user's password: it
// is kept nowhere here, holds after this server was started anew, and ends with
// the password. It opens nothing; whoever takes it has a few tries more.

// deviceLife is how long a browser is remembered after its last login.
const deviceLife = 180 * 24 * time.Hour

// deviceName is the cookie's name.
func deviceName(secure bool) string { return cookieName(secure) + "-device" }

// newDevice returns the cookie's value for a browser of u.
func newDevice(u *user) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	number := base64.RawURLEncoding.EncodeToString(b[:])
	return number + "." + deviceCode(u, number)
}

func deviceCode(u *user, number string) string {
	m := hmac.New(sha256.New, []byte(u.hash))
	m.Write([]byte("flowtally device\x00" + u.name + "\x00" + number))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// device returns the number of the browser that a request comes from, "" unless
// u has logged in with it.
func device(r *http.Request, u *user, secure bool) string {
	c, err := r.Cookie(deviceName(secure))
	if err != nil {
		return ""
	}
	number, code, ok := strings.Cut(c.Value, ".")
	if !ok || !hmac.Equal([]byte(code), []byte(deviceCode(u, number))) {
		return ""
	}
	return number
}
