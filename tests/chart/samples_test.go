package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
)

// Settings that the chart leaves out.
var leftOut = map[string]string{
	"identity.toml [service] sealing_key_command": "the image has no shell to run it",
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
			for _, secret := range []string{"database", "redis", "sealing_key", "verify_token"} {
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
	manifests, _, err := render(t, readValues(t, "everything"))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
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
			sample, err := os.ReadFile(filepath.Join("../../deploy", file))
			if err != nil {
				t.Fatal(err)
			}
			compared++
			written := settingNames(text)
			for name := range settingNames(string(sample)) {
				if !written[name] && leftOut[file+" "+name] == "" {
					t.Errorf("the chart has no %s of deploy/%s", name, file)
				}
			}
		}
	}
	if compared != 4 {
		t.Errorf("%d settings files", compared)
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
