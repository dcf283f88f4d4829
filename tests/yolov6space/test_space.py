"""The space: contents, round trips, moves, and clear errors for wrong files."""

import dataclasses
import itertools
import random
import statistics

import pytest
import yaml

from foundation.errors import UserError
from yolov6space.candidate import Candidate, Precision, Recipe, SpecError
from yolov6space.cost import cost
from yolov6space.sampler import log_bounds
from yolov6space.space import Space
from yolov6space.variants import get, named, official

SPACES = {"default": Space.default(), "paper": Space.paper()}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


def draw(space, count, seed=0):
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(count)]


# -- contents ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", named())
def test_paper_space_holds_every_named_network_with_its_recipe(name):
    space, candidate = SPACES["paper"], get(name)
    assert candidate in space
    assert space.decode(space.encode(candidate)) == candidate


@pytest.mark.parametrize("name", official())
def test_default_space_holds_the_official_architectures(name):
    space = SPACES["default"]
    candidate = Candidate(
        model=get(name).model, recipe=Recipe(box_loss="giou"), precision=Precision(kind="fp32")
    )
    assert space.decode(space.encode(candidate)) == candidate


def test_official_spellings_are_plain():
    values = SPACES["paper"].encode(get("M"))
    assert (values["width"], values["depth"], values["csp_coefficient"]) == (0.75, 0.6, "2/3")
    multiples = [value for name, value in values.items() if name.endswith((".width", ".depth"))]
    assert set(multiples) == {1.0}
    assert "quantization" not in values
    assert "csp_coefficient" not in SPACES["paper"].encode(get("N"))


def test_default_space_reaches_below_half_of_n():
    smallest = min(cost(candidate.model).params for candidate in draw(SPACES["default"], 2000))
    assert smallest < cost(get("N").model).params / 4


def test_sizes_spread_over_orders_of_magnitude(space):
    sizes = sorted(cost(candidate.model).params / 1e6 for candidate in draw(space, 2000))
    tenths = statistics.quantiles(sizes, n=10)
    assert tenths[8] / tenths[0] > 30
    # About as many below N as between N and S: small networks are not rare.
    assert 0.2 < sum(size < 4.32 for size in sizes) / len(sizes) < 0.7


def test_outside_the_space_names_the_dimension():
    space = SPACES["default"]
    with pytest.raises(SpecError, match="precision is fp16, which is outside the space; it has fp32, int8"):
        space.encode(get("N"))
    odd = dataclasses.replace(get("N").model, stem_channels=8)
    with pytest.raises(SpecError, match="no widths of the space give stem 8"):
        SPACES["paper"].encode(Candidate(model=odd))
    stages = get("N").model.backbone
    deep = (dataclasses.replace(stages[0], repeats=60), *stages[1:])
    with pytest.raises(SpecError, match="no depths of the space"):
        SPACES["paper"].encode(Candidate(model=dataclasses.replace(get("N").model, backbone=deep)))
    assert "N" not in space
    assert get("N") not in space


# -- round trips -------------------------------------------------------------------------------------------


def test_round_trips(space):
    for candidate in draw(space, 200):
        values = space.encode(candidate)
        assert space.decode(values) == candidate
        assert space.active(values) == values
        assert space.from_vector(space.to_vector(candidate)) == candidate
        again = Candidate.from_dict(candidate.to_dict())
        assert again == candidate
        assert again.key == candidate.key


def test_keys_differ_exactly_when_candidates_do(space):
    candidates = draw(space, 2000)
    by_key = {}
    for candidate in candidates:
        assert by_key.setdefault(candidate.key, candidate) == candidate
    assert len(by_key) == len(set(candidates))


def test_spellings_of_one_network_share_a_key():
    space = SPACES["default"]
    values = space.encode(draw(space, 1, seed=3)[0])
    # 128 x 0.125 x 0.75 = 12 and 128 x 0.125 x 1.0 = 16 both round up to 16 channels.
    one = {**values, "width": 0.125, "backbone.stage2.width": 0.75}
    other = {**values, "width": 0.125, "backbone.stage2.width": 1.0}
    assert space.decode(one).key == space.decode(other).key
    assert space.encode(space.decode(one)) == space.encode(space.decode(other))
    assert space.encode(space.decode(one))["backbone.stage2.width"] == 1.0


def test_a_dimension_that_does_not_apply_is_absent_and_ignored():
    space = SPACES["paper"]
    values = space.encode(get("N"))
    extra = {
        **values,
        "csp_coefficient": "2/3",
        "quantization": "qat",
        "float_layers": 6,
        "sensitivity_metric": "ap",
    }
    assert space.active(extra) == values
    assert space.decode(extra) == get("N")
    names = [dimension.name for dimension in space.dimensions]
    vector = space.to_vector(get("N"))
    absent = {name for name, index in zip(names, vector, strict=True) if index == -1}
    assert absent == {"csp_coefficient", "quantization", "float_layers", "sensitivity_metric"}


def test_wrong_values():
    space = SPACES["default"]
    values = space.encode(draw(space, 1)[0])
    with pytest.raises(SpecError, match="no dimension is called 'widht'"):
        space.decode({**values, "widht": 1.0})
    with pytest.raises(SpecError, match=r"width is 0\.3; this space has 0\.125, "):
        space.decode({**values, "width": 0.3})
    with pytest.raises(SpecError, match="activation has no value; choose one of relu, silu, lrelu"):
        space.decode({name: value for name, value in values.items() if name != "activation"})
    with pytest.raises(SpecError, match="this space has 42"):
        space.from_vector((0, 1))
    with pytest.raises(SpecError, match="the entry of width is 99"):
        space.from_vector((99, *([0] * 41)))


def test_space_itself_round_trips(space):
    assert Space.from_dict(space.to_dict()) == space


# -- moves -------------------------------------------------------------------------------------------------


def test_sampling_is_reproducible_and_inside(space):
    assert draw(space, 20, seed=7) == draw(space, 20, seed=7)
    assert all(candidate in space for candidate in draw(space, 100))


def test_every_choice_is_drawn(space):
    seen = {dimension.name: set() for dimension in space.dimensions}
    rng = random.Random(0)
    for _ in range(3000):
        for name, value in space.encode(space.sample(rng)).items():
            seen[name].add(value)
    for dimension in space.dimensions:
        if not (space.name == "default" and dimension.name == "sensitivity_metric"):  # no float layers there
            assert seen[dimension.name] == set(dimension.choices), dimension.name


def test_log_bounds_are_even_for_a_geometric_list_and_favour_the_sparse_end():
    assert log_bounds([1, 2, 4, 8]) == pytest.approx([0.25, 0.5, 0.75])
    linear = [0.0, *log_bounds([0.25, 0.5, 0.75, 1.0]), 1.0]
    shares = [after - before for before, after in itertools.pairwise(linear)]
    assert shares == sorted(shares, reverse=True)


def test_neighbours_are_one_step_away(space):
    for candidate in draw(space, 15, seed=5):
        neighbours = space.neighbours(candidate)
        assert len(set(neighbours)) == len(neighbours) > 5
        assert candidate not in neighbours
        here = space.encode(candidate)
        for neighbour in neighbours:
            assert neighbour in space
        # Every categorical alternative is among them.
        for activation in ("relu", "silu", "lrelu"):
            if activation != here["activation"]:
                model = dataclasses.replace(candidate.model, activation=activation)
                assert dataclasses.replace(candidate, model=model) in neighbours


def test_neighbours_step_to_the_next_width_only():
    space = SPACES["paper"]
    widths = {neighbour.model.stem_channels for neighbour in space.neighbours(get("S"))}
    assert widths == {24, 32, 40}  # 0.375, 0.5, 0.625 of 64


def test_neighbour_that_becomes_int8_gets_the_first_choices():
    neighbours = SPACES["paper"].neighbours(get("N"))
    (quantized,) = [candidate for candidate in neighbours if candidate.precision.kind == "int8"]
    assert quantized.precision == Precision(kind="int8", scheme="ptq", float_layers=0)
    assert quantized.training_key == get("N").training_key


def test_crossover_takes_every_value_from_a_parent():
    space = SPACES["default"]
    rng = random.Random(1)
    for first, second in itertools.pairwise(draw(space, 40, seed=2)):
        child = space.crossover(first, second, rng)
        assert child in space
        for part in ("conv", "activation", "reg_max"):
            assert getattr(child.model, part) in (getattr(first.model, part), getattr(second.model, part))
        for index, stage in enumerate(child.model.backbone):
            assert stage.block in (first.model.backbone[index].block, second.model.backbone[index].block)
    assert space.crossover(first, first, rng) == first


class FixedTrial:
    """Chooses at random and remembers what it was asked, as an Optuna trial would."""

    def __init__(self, rng):
        self.rng, self.params = rng, {}

    def suggest_categorical(self, name, choices, /):
        assert name not in self.params
        self.params[name] = self.rng.choice(choices)
        return self.params[name]


def test_suggest_asks_for_open_dimensions_that_apply(space):
    rng = random.Random(0)
    for _ in range(50):
        trial = FixedTrial(rng)
        candidate = space.suggest(trial)
        assert candidate in space
        assert space.decode(trial.params) == candidate
        assert all(len(space.choices[name]) > 1 for name in trial.params)
        if candidate.precision.kind != "int8":
            assert "quantization" not in trial.params


# -- enumeration -------------------------------------------------------------------------------------------

TINY = {
    "extends": "default",
    "name": "tiny",
    "dimensions": {
        "width": [0.125, 0.25],
        "depth": 0.33,
        "backbone.*.width": 1.0,
        "backbone.*.depth": 1.0,
        "backbone.*.block": "rep",
        "neck.*.block": "rep",
        "neck.n4.block": ["rep", "csp_rep"],
        "neck.width": 1,
        "neck.depth": 1,
        "head.width": 1,
        "conv": "plain",
        "activation": ["relu", "silu"],
        "reg_max": 0,
        "box_loss": "siou",
        "float_layers": [0, 2],
        "sensitivity_metric": ["mse", "snr"],
    },
}


def tiny(**dimensions):
    return Space.from_dict({**TINY, "dimensions": {**TINY["dimensions"], **dimensions}})


def test_enumeration_is_complete_and_without_repeats():
    space = tiny()
    # 2 widths x 2 activations x (rep, or csp with 2 coefficients) x (fp32, or int8 with 0 or 2 x 2 float layers)
    assert space.size == 2 * 2 * (1 + 2) * (1 + 1 + 2)
    found = list(space.enumerate())
    assert len(found) == len(set(found)) == space.size
    assert set(draw(space, 2000)) == set(found)


def test_enumeration_skips_second_spellings():
    space = tiny(**{"backbone.stage2.width": [0.75, 1.0]})
    found = list(space.enumerate())
    assert len(found) == len(set(found)) == len(set(draw(space, 5000)))
    assert len(found) < space.size  # 0.125 x 0.75 x 128 rounds up to what 0.125 x 128 is


def test_enumeration_is_lazy(space):
    assert space.size > 10**9
    assert len(list(itertools.islice(space.enumerate(), 5))) == 5


def test_image_size_as_a_dimension():
    space = tiny(image_size=[640, 320])
    assert space.choices["image_size"] == (320, 640)
    assert {candidate.image_size for candidate in draw(space, 50)} == {320, 640}
    assert {candidate.image_size for candidate in draw(tiny(), 5)} == {None}


# -- files -------------------------------------------------------------------------------------------------


def test_a_users_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: default\ndimensions:\n  backbone.*.block: [rep]\n  csp_coefficient: 0.667\n  conv: plain\n"
    )
    space = Space.load(path)
    assert space.name == "mine"
    assert space.choices["backbone.stage4.block"] == ("rep",)
    assert space.choices["neck.p4.block"] == ("rep", "csp_rep")
    assert space.choices["csp_coefficient"] == ("2/3",)
    assert all(candidate.model.conv == "plain" for candidate in draw(space, 20))
    assert Space.load("paper") == Space.paper()


WRONG = {
    "dimensions: {widht: [0.5]}": "no dimension is called 'widht'; did you mean width?",
    "dimensions: {backbone.*.blok: [rep]}": "no dimension is called 'backbone.*.blok'",
    "dimensions: {width: []}": "width has no choices; give at least one, a number above 0",
    "dimensions: {width: [0.5, wide]}": "width has the choice 'wide'; it must be a number above 0, at most 8",
    "dimensions: {width: [true]}": "width has the choice True",
    "dimensions: {width: [.nan]}": "width has the choice nan",
    "dimensions: {depth: -1}": "depth has the choice -1",
    "dimensions: {conv: [repvg]}": "conv has the choice 'repvg'; it must be one of repvgg, qarepvgg",
    "dimensions: {conv: null}": "conv has the choice null",
    "dimensions: {reg_max: [16.0]}": "reg_max has the choice 16.0; it must be a whole number from 0 to 64",
    "dimensions: {image_size: [300]}": "image_size has the choice 300; it must be a whole number from 32",
    "dimensions: {image_size: [null, 320]}": "image_size mixes null",
    "dimensions: {csp_coefficient: ['1/0']}": "csp_coefficient has the choice '1/0'",
    "dimensions: {csp_coefficient: [1.5]}": "csp_coefficient has the choice 1.5",
    "dimensions: {csp_coefficient: [0.5, '1/2']}": "csp_coefficient lists '1/2' twice",
    "dimensions: {width: {low: 0.1}}": "width has the choice {'low': 0.1}",
    "dimensions: [width]": "dimensions must be a mapping of names to choices, not a list",
    "dimension: {width: 1}": "unknown field 'dimension'; did you mean dimensions?",
    "dimensions: {width: 8}": "the limit is 4096",
    "dimensions: {depth: 4}": "could reach 108 repeats in a stage; the limit is 64",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_files_say_what_and_where(tmp_path, text):
    path = tmp_path / "wrong.yaml"
    path.write_text("extends: default\n" + text + "\n")
    with pytest.raises(UserError) as error:
        Space.load(path)
    assert WRONG[text] in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_files_that_are_no_spaces(tmp_path):
    cases = {
        "empty.yaml": ("", "must be a mapping with `dimensions`, not empty"),
        "list.yaml": ("[1, 2]", "not a list"),
        "broken.yaml": ("a: [1,\nb: }", "is not YAML in line 2"),
        "short.yaml": ("dimensions: {width: 1}", "no choices for depth"),
        "base.yaml": ("extends: pape", "extends is 'pape'; choose one of default, paper"),
    }
    for name, (text, message) in cases.items():
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(UserError) as error:
            Space.load(path)
        assert message in str(error.value)
        assert str(path) in str(error.value)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="not a text file"):
        Space.load(tmp_path / "binary.yaml")
    with pytest.raises(UserError, match=r"cannot read the space file .*: No such file"):
        Space.load(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="cannot read the space file"):
        Space.load(tmp_path)


def test_yaml_of_a_space_loads_again(tmp_path, space):
    path = tmp_path / "copy.yaml"
    path.write_text(yaml.safe_dump(space.to_dict()))
    assert Space.load(path).dimensions == space.dimensions
