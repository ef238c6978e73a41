package chart

import (
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

const chartDirectory = "../../deploy/helm/bowline"

// The release that the chart is rendered for.
const (
	releaseName = "vpn"
	namespace   = "network"
)

// Helm says of every symbolic link that it follows it.
func init() { slog.SetLogLoggerLevel(slog.LevelWarn) }

// values are those that an administrator gives.
type values = map[string]any

// readValues returns the values of a file in ci/, by the file's name without its ending.
func readValues(t *testing.T, name string) values {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDirectory, "ci", name+"-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return parseValues(t, string(text))
}

func parseValues(t *testing.T, text string) values {
	t.Helper()
	parsed, err := loader.LoadValues(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// valueNames returns the names of all files in ci/.
func valueNames(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(chartDirectory, "ci", "*-values.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no values in ci/", err)
	}
	var names []string
	for _, path := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(path), "-values.yaml"))
	}
	return names
}

// merge lays values over each other, the last ones on top.
func merge(layers ...values) values {
	merged := values{}
	for _, layer := range layers {
		merged = loader.MergeMaps(merged, layer)
	}
	return merged
}

var loadChart = sync.OnceValues(func() (*v2.Chart, error) { return loader.LoadDir(chartDirectory) })

// render returns the manifests of the chart, and its notes, or why it has none.
func render(t *testing.T, given values) (manifests []string, notes string, err error) {
	t.Helper()
	chart, err := loadChart()
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: releaseName, Namespace: namespace, Revision: 1, IsInstall: true}
	whole, err := util.ToRenderValues(chart, given, release, nil)
	if err != nil {
		return nil, "", err
	}
	files, err := engine.Render(chart, whole)
	if err != nil {
		return nil, "", err
	}
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			notes = text
			continue
		}
		for _, manifest := range strings.Split("\n"+text, "\n---") {
			if strings.Contains(manifest, "\nkind:") {
				manifests = append(manifests, manifest)
			} else if strings.TrimSpace(manifest) != "" {
				t.Errorf("%s has what is no object:\n%s", name, manifest)
			}
		}
	}
	return manifests, notes, nil
}

func TestHelmFindsNothingToMend(t *testing.T) {
	for _, name := range valueNames(t) {
		t.Run(name, func(t *testing.T) {
			result := lint.RunAll(chartDirectory, readValues(t, name), namespace)
			for _, message := range result.Messages {
				if message.Severity >= support.WarningSev {
					t.Error(message)
				}
			}
		})
	}
}

// Every set of up to three files in ci/, one laid over the other, has manifests that Kubernetes takes; with BOWLINE_FULL_SIZE every
// set.
func TestKubernetesTakesTheManifestsOfEveryCombination(t *testing.T) {
	names, combinations := valueNames(t), 0
	most := 3
	if os.Getenv("BOWLINE_FULL_SIZE") != "" {
		most = len(names)
	}
	// Most manifests are as in another combination: what they are called.
	seen := map[string]string{}
	for set := uint(1); set < 1<<len(names); set++ {
		if bits.OnesCount(set) > most {
			continue
		}
		combinations++
		layers, chosen := []values{readValues(t, "minimal")}, []string{}
		for number, name := range names {
			if set&(1<<number) != 0 {
				layers, chosen = append(layers, readValues(t, name)), append(chosen, name)
			}
		}
		manifests, _, err := render(t, merge(layers...))
		if err != nil {
			t.Errorf("%v: %v", chosen, err)
			continue
		}
		objects := map[string]bool{}
		for _, manifest := range manifests {
			identity, isKnown := seen[manifest]
			if !isKnown {
				identity = identify(t, manifest)
				seen[manifest] = identity
				for _, problem := range validate(manifest) {
					t.Errorf("%v: %s: %s", chosen, identity, problem)
				}
			}
			if objects[identity] {
				t.Errorf("%v: two objects are %s", chosen, identity)
			}
			objects[identity] = true
		}
	}
	t.Logf("%d combinations, %d different manifests", combinations, len(seen))
}

// What Kubernetes lets nobody change, such as the selector of a workload, is the same whatever is set; but for what says so in
// values.yaml.
func TestAnUpgradeMayChangeEveryValue(t *testing.T) {
	objects := map[string]map[string]string{}
	fixed := parseValues(t, "{ netmapGateway: { service: { loadBalancerClass: '' } } }")
	for _, name := range valueNames(t) {
		manifests, _, err := render(t, merge(readValues(t, "minimal"), readValues(t, name), fixed))
		if err != nil {
			t.Fatal(err)
		}
		objects[name] = map[string]string{}
		for _, manifest := range manifests {
			objects[name][identify(t, manifest)] = manifest
		}
	}
	changes := 0
	for from, before := range objects {
		for to, after := range objects {
			for identity, manifest := range before {
				if next, isThere := after[identity]; isThere && next != manifest && !isOfOthers(manifest) {
					changes++
					if err := validateChange(manifest, next); err != nil {
						t.Errorf("from %s to %s: %s: %v", from, to, identity, err)
					}
				}
			}
		}
	}
	if changes == 0 {
		t.Error("no values change anything")
	}
}

// identify returns kind and name of an object.
func identify(t *testing.T, manifest string) string {
	t.Helper()
	var object struct {
		Kind     string
		Metadata struct{ Name, Namespace string }
	}
	if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
		t.Fatal(err)
	}
	if object.Metadata.Namespace != namespace {
		t.Errorf("%s %s is in namespace %q", object.Kind, object.Metadata.Name, object.Metadata.Namespace)
	}
	return object.Kind + "/" + object.Metadata.Name
}
