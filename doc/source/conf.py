# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built: tox -e docs."""

project = "images_service"
copyright = "the images_service developers"
author = "the images_service developers"
extensions = [
    "cliff.sphinxext",
    "oslo_config.sphinxconfiggen",
    "oslo_config.sphinxext",
    "oslo_policy.sphinxext",
    "oslo_policy.sphinxpolicygen",
    "sphinxcontrib.autoprogram",
]
html_theme = "furo"
html_title = project
html_css_files = ["phone.css"]
html_use_index = False
# Samples are made of the code, as operators make their own.
config_generator_config_file = "../../etc/config-generator.conf"
sample_config_basename = "_static/images_service"
policy_generator_config_file = "../../etc/policy-generator.conf"
sample_policy_basename = "_static/images_service"
html_static_path = ["_static"]
nitpicky = True
# A manual page of each command, from the page that describes it.
man_pages = [
    (f"cli/{name}", name, summary, author, "1")
    for name, summary in {
        "images-service-api": "serve the image API",
        "images-service-manage": "manage images, database and policy",
        "images-service-mirror": "keep the images in step with Glance",
        "images-service-status": "check a deployment before an upgrade",
    }.items()
]
