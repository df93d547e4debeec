"""The recipes a panel lists are the worker's recipes."""

import shutil

import pytest


@pytest.fixture
def recipes(slicerHost):
    from GenerativeAugmentLib import recipes

    return recipes


def test_every_recipe_says_what_the_worker_reads(recipes):
    from genaug.recipe import list_recipes

    listed = {recipe.name: recipe for recipe in recipes.listRecipes()}
    assert set(listed) == {recipe.name for recipe in list_recipes()}
    for expected in list_recipes():
        found = listed[expected.name]
        for key in ("title", "family", "task", "citation", "distinct", "suits", "unsuited", "conditions", "dimensions"):
            assert getattr(found, key) == getattr(expected, key), (expected.name, key)
        assert (found.withLabels, found.offsets) == (expected.with_labels, expected.offsets)
        assert found.unpaired == expected.unpaired
        assert (found.sampler, found.steps) == (expected.sampler.name, expected.sampler.steps)
        resolved = expected.resolve(max(expected.dimensions)).stages
        assert found.iterations == {name: stage.training.iterations for name, stage in resolved.items()}
        assert [(stage.network, stage.batchSize, stage.makes) for stage in found.stages] == [
            (stage.network.kind, stage.training.batch_size, stage.makes) for stage in resolved.values()
        ]


def test_recipes_of_one_task_by_title(recipes):
    translators = recipes.listRecipes("translation")
    assert {"pix2pix", "unet-l1", "cyclegan"} <= {recipe.name for recipe in translators}
    assert {recipe.task for recipe in translators} == {"translation"}
    titles = [recipe.title for recipe in recipes.listRecipes()]
    assert titles == sorted(titles)
    assert {recipe.task for recipe in recipes.listRecipes()} == set(recipes.TASKS)


def test_one_recipe_by_name(recipes):
    from GenerativeAugmentLib.errors import JobError

    assert recipes.findRecipe("ldm").iterations.keys() == {"autoencoder", "denoiser"}
    for name in ("nosuch", "../recipes/ldm", ""):
        with pytest.raises(JobError) as caught:
            recipes.findRecipe(name)
        assert caught.value.reason == "bad_recipe" and "ldm" in caught.value.expected


def test_what_a_recipe_asks_for_and_where_words_find_it(recipes):
    found = {recipe.name: recipe for recipe in recipes.listRecipes()}
    assert found["red-gan"].asked == ("label_map", "covariates")
    assert found["mcgan"].asked[0] == found["brainspade"].asked[0] == "label_map"
    assert found["vae"].asked == () and recipes.needs(found["vae"]) == ""
    assert "class" in recipes.needs(found["cvae"]) and "no pairs" in recipes.needs(found["cyclegan"])
    assert "planes" in recipes.needs(found["endo-vae"]) and all(
        map(recipes.needs, (found["mm-gan"], found["text-ldm"]))
    )
    assert found["pix2pix"].needsSources and not found["madgan"].needsSources and not found["vae"].needsSources
    assert found["wavelet-diffusion"].matches("WAVELET diffusion") and not found["vae"].matches("wavelet")
    assert all(recipes.taskTitle(recipe.task) and recipes.familyTitle(recipe.family) for recipe in found.values())


@pytest.mark.parametrize(("damage", "named"), [("name = nothing", "line 1"), ('name = "x"', "title")])
def test_a_damaged_recipe_is_named(recipes, tmp_path, damage, named):
    from GenerativeAugmentLib.errors import JobError

    folder = shutil.copytree(recipes.FOLDER, tmp_path / "recipes")
    (folder / "mine.toml").write_text(damage)
    with pytest.raises(JobError) as caught:
        recipes.listRecipes(folder=folder)
    assert caught.value.reason == "bad_recipe"
    assert caught.value.subject.endswith("mine.toml") and named in caught.value.found
    with pytest.raises(JobError, match="no recipe"):
        recipes.listRecipes(folder=tmp_path / "empty")
