package chart

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
)

// holder is what a certificate says of who has it.
type holder struct {
	hosts, uris []string
	uses        []string
}

// readHolder reads a certificate that `bowline certificates create` has made.
func readHolder(t *testing.T, path string) holder {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	found := holder{hosts: parsed.DNSNames}
	for _, uri := range parsed.URIs {
		found.uris = append(found.uris, uri.String())
	}
	names := map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "server auth", x509.ExtKeyUsageClientAuth: "client auth"}
	for _, use := range parsed.ExtKeyUsage {
		found.uses = append(found.uses, names[use])
	}
	if parsed.KeyUsage&x509.KeyUsageDigitalSignature != 0 {
		found.uses = append(found.uses, "digital signature")
	}
	slices.Sort(found.uses)
	return found
}

func TestCertManagerMakesWhatTheCommandMakes(t *testing.T) {
	directory := t.TempDir()
	run(t, program(t, "bowline"), "certificates", "create", directory)
	manifests, notes, err := render(t, merge(readValues(t, "relay"), readValues(t, "cert-manager")))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, manifest := range manifests {
		object, _ := decode(manifest)
		wanted, isCertificate := object.(*certmanager.Certificate)
		if !isCertificate || wanted.Spec.IsCA || len(wanted.Spec.URIs) == 0 {
			continue
		}
		compared++
		asked := holder{hosts: wanted.Spec.DNSNames, uris: wanted.Spec.URIs}
		for _, use := range wanted.Spec.Usages {
			asked.uses = append(asked.uses, string(use))
		}
		slices.Sort(asked.uses)
		name := strings.TrimPrefix(wanted.Name, releaseName+"-bowline-")
		if made := readHolder(t, filepath.Join(directory, name+".pem")); !reflect.DeepEqual(asked, made) {
			t.Errorf("%s: cert-manager is asked for %v, the command makes %v", name, asked, made)
		}
		if name == "admin" && !strings.Contains(notes, "get secret "+wanted.Spec.SecretName+" ") {
			t.Errorf("the notes do not lead to %s:\n%s", wanted.Spec.SecretName, notes)
		}
	}
	if compared != 6 {
		t.Errorf("%d certificates", compared)
	}
}
