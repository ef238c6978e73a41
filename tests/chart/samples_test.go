package chart

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
)

// Settings that the chart leaves out.
var leftOut = map[string]string{
	"netmap-gateway.toml [service] control_keys_command":   "the image has no shell to run it",
	"identity.toml [audit] signing_key_command":            "the image has no shell to run it",
	"key-registry.toml [audit] signing_key_command":        "the image has no shell to run it",
	"policy-compiler.toml [audit] signing_key_command":     "the image has no shell to run it",
	"identity.toml [service] sealing_key_command":          "the image has no shell to run it",
	"identity.toml [audit] directory":                      "a directory of the cluster is one that the server can rewrite",
	"key-registry.toml [audit] directory":                  "a directory of the cluster is one that the server can rewrite",
	"policy-compiler.toml [audit] directory":               "a directory of the cluster is one that the server can rewrite",
	"netmap-gateway.toml [service.acme] directory_ca_file": "in a cluster cert-manager asks a private authority",
	"netmap-gateway.toml [service.acme] http_listen":       "clients come at port 443, and so does the authority",
}

var setting = regexp.MustCompile(`^(?:# )?([a-z_]+) = `)

// settingNames returns the keys of a settings file, each with its table; those of a secret without the ending of its file.
func settingNames(text string) map[string]bool {
	names, table := map[string]bool{}, ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "[") {
			table, _, _ = strings.Cut(line, "]")
			table += "] "
		} else if found := setting.FindStringSubmatch(line); found != nil {
			name := found[1]
			for _, secret := range []string{"database", "redis", "sealing_key", "verify_token", "signing_key", "webhook_token", "secret_access_key"} {
				if name == secret+"_file" {
					name = secret
				}
			}
			names[table+name] = true
		}
	}
	return names
}

// Whoever adds a setting to deploy/SERVICE.toml adds it to the chart, or says why not.
func TestChartHasEachSettingOfTheSamples(t *testing.T) {
	// A gateway has its certificate from one place: from files in the first, by ACME in the second.
	written := map[string]map[string]bool{}
	for _, given := range []string{"everything", "acme"} {
		manifests, _, err := render(t, readValues(t, given))
		if err != nil {
			t.Fatal(err)
		}
		for _, manifest := range manifests {
			object, _ := decode(manifest)
			settings, isConfigMap := object.(*core.ConfigMap)
			if !isConfigMap {
				continue
			}
			for file, text := range settings.Data {
				if !strings.HasSuffix(file, ".toml") {
					continue
				}
				if written[file] == nil {
					written[file] = map[string]bool{}
				}
				maps.Copy(written[file], settingNames(text))
			}
		}
	}
	for file, names := range written {
		sample, err := os.ReadFile(filepath.Join("../../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for name := range settingNames(string(sample)) {
			if !names[name] && leftOut[file+" "+name] == "" {
				t.Errorf("the chart has no %s of deploy/%s", name, file)
			}
		}
	}
	if len(written) != 4 {
		t.Errorf("%d settings files", len(written))
	}
}

// A release has one version (.github/release checks its tag against it).
func TestChartHasTheVersionOfTheWorkspace(t *testing.T) {
	text, err := os.ReadFile("../../Cargo.toml")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^version = "(.*)"$`).FindSubmatch(text)
	chart, err := loadChart()
	if err != nil {
		t.Fatal(err)
	}
	if chart.Metadata.Version != string(version[1]) || chart.Metadata.AppVersion != string(version[1]) {
		t.Errorf("the chart has %s for %s, Cargo.toml %s", chart.Metadata.Version, chart.Metadata.AppVersion, version[1])
	}
}
