"""Templates: the part of Go's that says where a message comes from."""

import pytest

from flynn_aio.errors import ValidationError
from flynn_aio.model import JobFacts, parse_template

JOB = JobFacts(
    id="host0-1234",
    app_name="shop",
    metadata={"flynn-controller.app_name": "shop", "team": "blue\nred"},
    env={"LOG_TOKEN": "secret"},
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("token", "token"),
        ("{{.ID}}", "host0-1234"),
        ("a {{ .ID }} b", "a host0-1234 b"),
        ("a {{- .ID -}} b", "ahost0-1234b"),
        ('{{index .Metadata "flynn-controller.app_name"}}', "shop"),
        ("{{index .Metadata `team`}}", "blue red"),
        ('{{index .Metadata "nothing"}}', ""),
        ("{{.Metadata.nothing}}", "<no value>"),
        ("{{.Config.Env.LOG_TOKEN}}", "secret"),
        ('{{index .Config.Env "LOG_TOKEN"}}-{{.ID}}', "secret-host0-1234"),
        ("{{/* why */}}x", "x"),
        ("{ {} }", "{ {} }"),
    ],
)
def test_a_template_is_filled_for_a_job(template, expected):
    assert parse_template(template).fill(JOB) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{",
        "{{.ID}",
        "x {{.ID}} {{",
        "{{}}",
        "{{.}}",
        "{{.Resources}}",
        "{{.Metadata}}",
        "{{if .ID}}x{{end}}",
        "{{range .Metadata}}{{.}}{{end}}",
        "{{$x := .ID}}",
        "{{printf `%s` .ID}}",
        "{{.ID | printf}}",
        '{{index .Metadata "a" "b"}}',
        "{{template `x`}}",
        "x" * 1001,
    ],
)
def test_what_we_do_not_understand_is_refused(template):
    with pytest.raises(ValidationError) as refused:
        parse_template(template)
    assert refused.value.field == "config.template"
