package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"flowtally/spelling"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sentence is an error as people read it: one line, and in place of what Go's library says
// of the files and the network, which is written for programmers, what is the matter.
func sentence(err error) string {
	text := err.Error()
	say := func(of error, words string) { text = strings.ReplaceAll(text, of.Error(), words) }
	if e, ok := errors.AsType[*net.OpError](err); ok {
		say(e, networkSentence(e))
	} else if e, ok := errors.AsType[*net.DNSError](err); ok {
		say(e, noHost(e))
	} else if e, ok := errors.AsType[*net.AddrError](err); ok {
		say(e, fmt.Sprintf("%q is no address with a port", e.Addr))
	}
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		say(e, reason(e.Err))
	} else if errno, ok := errors.AsType[syscall.Errno](err); ok {
		text = strings.ReplaceAll(text, "bind: "+errno.Error(), reason(errno))
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		say(e, e.Path+": "+reason(e.Err))
	}
	if e, ok := errors.AsType[*strconv.NumError](err); ok {
		say(e, fmt.Sprintf("%q is no number that fits", e.Num))
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		say(e, "the certificate is not to be trusted: "+e.Err.Error())
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		say(e, "it is of an authority that is not known here")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		text = strings.ReplaceAll(text, context.DeadlineExceeded.Error(), "it took too long")
	}
	text = strings.ReplaceAll(text, io.ErrUnexpectedEOF.Error(), "it ends too early")
	// PEM and keys.
	text = strings.ReplaceAll(text, "tls: ", "")
	// What wraps an error may say what it says itself.
	text = strings.Join(slices.Compact(strings.Split(text, ": ")), ": ")
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), "; ")
}

// networkSentence says what of the network was asked for, and why there is none.
func networkSentence(e *net.OpError) string {
	if dns, ok := errors.AsType[*net.DNSError](e); ok {
		return noHost(dns)
	}
	protocol := strings.ToUpper(strings.TrimRight(e.Net, "46"))
	if strings.HasPrefix(e.Net, "unix") {
		protocol = "socket"
	}
	where := ""
	if e.Addr != nil {
		where = " " + e.Addr.String()
	}
	switch e.Op {
	case "listen":
		switch {
		case errors.Is(e.Err, syscall.EADDRINUSE):
			return protocol + where + " is in use by another program: stop it, or choose another address"
		case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
			return "cannot listen on " + protocol + where + ": that is no address of this machine"
		case errors.Is(e.Err, syscall.EACCES):
			return "no permission to listen on " + protocol + where + ": choose a port above 1023"
		}
		return "cannot listen on " + protocol + where + ": " + reason(e.Err)
	case "dial":
		return "nobody is reached at " + protocol + where + ": " + reason(e.Err)
	}
	return protocol + where + ": " + reason(e.Err)
}

func noHost(e *net.DNSError) string {
	if e.IsNotFound {
		return fmt.Sprintf("there is no host %q", e.Name)
	}
	return fmt.Sprintf("the host %q could not be looked up: no name server answered", e.Name)
}

// reason is the operating system's word for what went wrong, without Go's for the call.
func reason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		switch errno {
		case syscall.ENOENT:
			return "there is no such file or directory"
		case syscall.EACCES, syscall.EPERM:
			return "permission denied"
		case syscall.EADDRINUSE:
			return "it is in use by another program: stop it, or choose another address"
		case syscall.EADDRNOTAVAIL:
			return "that is no address of this machine"
		case syscall.EISDIR:
			return "is a directory, not a file"
		}
		return errno.Error()
	}
	if e, ok := errors.AsType[*net.AddrError](err); ok {
		return fmt.Sprintf("%q is no address with a port", e.Addr)
	}
	return err.Error()
}

// flagSentence says what is wrong with a flag.
func flagSentence(cmd *cobra.Command, err error) error {
	path := sectionName(cmd)
	help := strings.Join(strings.Fields("flowtally "+path+" --help"), " ")
	if path == "" {
		path = "flowtally"
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("%s: --%s%s: %w", path, e.GetFlag().Name, showable(e.GetFlag(), e.GetValue()), e.Unwrap())
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		said := ""
		if v, ok := e.GetFlag().Value.(interface{ wanted() string }); ok {
			said = ": want " + v.wanted()
		}
		return fmt.Errorf("%s: --%s stands without a value%s", path, e.GetFlag().Name, said)
	}
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := e.GetSpecifiedName()
		if letters := e.GetSpecifiedShortnames(); letters != "" {
			whole, _, _ := strings.Cut(letters, "=")
			hint := ""
			if f := cmd.Flags().Lookup(whole); f != nil || len(whole) > 2 {
				hint = spelling.Hint(whole, flagNames(cmd.Flags()))
				hint = strings.Replace(hint, "did you mean ", "did you mean --", 1)
			}
			return fmt.Errorf("%s has no flag -%s%s (%s lists them)", path, name, hint, help)
		}
		hint := spelling.Hint(name, flagNames(cmd.Flags()))
		hint = strings.Replace(hint, "did you mean ", "did you mean --", 1)
		return fmt.Errorf("%s has no flag --%s%s (%s lists them)", path, name, hint, help)
	}
	if e, ok := errors.AsType[*pflag.InvalidSyntaxError](err); ok {
		return fmt.Errorf("%s: %q is no flag: want --NAME or --NAME=VALUE (%s lists them)", path, e.GetSpecifiedFlag(), help)
	}
	return err
}
