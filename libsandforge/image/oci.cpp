// SPDX-License-Identifier: Apache-2.0
#include "image/oci.hpp"

#include <simdjson.h>

#include "base/limits.hpp"
#include "image/digest.hpp"

namespace sandforge::image {

namespace {

namespace json = simdjson::dom;

base::Error corrupt(std::string text) {
  return base::make_error(base::Code::Corrupt, "oci_corrupt", "OCI layout: " + std::move(text));
}

// Absent, or of another type: empty.
std::string text_of(const json::object& object, std::string_view key) {
  std::string_view text;
  if (object[key].get_string().get(text) != simdjson::SUCCESS || text.size() > limits::kImageWordMax) return {};
  return std::string(text);
}

base::Result<OciDescriptor> read_descriptor(const json::element& element) {
  json::object object;
  if (element.get_object().get(object) != simdjson::SUCCESS) return corrupt("a descriptor is no object");
  OciDescriptor descriptor;
  descriptor.media_type = text_of(object, "mediaType");
  descriptor.digest = text_of(object, "digest");
  if (!is_digest(descriptor.digest)) return corrupt("a descriptor has no sha256 digest");
  if (object["size"].get_uint64().get(descriptor.bytes) != simdjson::SUCCESS)
    return corrupt("a descriptor has no size");
  if (descriptor.bytes > limits::kImportBytesMax) return corrupt("a blob is larger than an import may be");
  json::object platform;
  if (object["platform"].get_object().get(platform) == simdjson::SUCCESS) {
    descriptor.os = text_of(platform, "os");
    descriptor.architecture = text_of(platform, "architecture");
  }
  return descriptor;
}

base::Result<std::vector<OciDescriptor>> read_list(std::string_view text, std::string_view key) {
  if (text.size() > limits::kOciJsonMax) return corrupt("a JSON file has more than 4 MiB");
  json::parser parser;
  json::object top;
  if (parser.parse(simdjson::padded_string(text)).get_object().get(top) != simdjson::SUCCESS) {
    return corrupt("a file is not a JSON object");
  }
  std::uint64_t version = 0;
  if (top["schemaVersion"].get_uint64().get(version) != simdjson::SUCCESS || version != 2) {
    return corrupt("its schemaVersion is not 2");
  }
  json::array list;
  if (top[key].get_array().get(list) != simdjson::SUCCESS) return corrupt("there is no list of " + std::string(key));
  std::vector<OciDescriptor> descriptors;
  for (const json::element element : list) {
    if (descriptors.size() == limits::kOciLayersMax) return corrupt("there are too many " + std::string(key));
    SANDFORGE_TRY(OciDescriptor descriptor, read_descriptor(element));
    descriptors.push_back(std::move(descriptor));
  }
  return descriptors;
}

}  // namespace

bool OciDescriptor::is_index() const noexcept {
  return media_type == "application/vnd.oci.image.index.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.list.v2+json";
}

bool OciDescriptor::is_manifest() const noexcept {
  return media_type == "application/vnd.oci.image.manifest.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.v2+json";
}

base::Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view json) { return read_list(json, "manifests"); }
base::Result<std::vector<OciDescriptor>> parse_oci_manifest(std::string_view json) { return read_list(json, "layers"); }

}  // namespace sandforge::image
