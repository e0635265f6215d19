import type { Row } from './library.js';

/** The shelf. Every artist and title is invented. */
// prettier-ignore
export const shelf: readonly Row[] = [
  ['Paper Harbours', 'Odile Marrant', 2019, 'strata', 'coast', [
    'Low Water, Early', 'Paper Harbours', 'The Ferryman Counts', 'Salt on the Ledger', 'Breakwater',
    'Every Rope a Name', 'Tidewrack', 'Lamp at Number Nine',
  ]],
  ['Lantern Year', 'The Velvet Almanac', 1974, 'sun', 'dusk', [
    'January Glass', 'Lantern Year', 'Half the Orchard', 'Sundial Waltz', 'Tell It to the Barley',
    'October, Slowly', 'What the Snow Kept',
  ]],
  ['Quarter Turns', 'Bureau of Small Machines', 2003, 'tiles', 'citrus', [
    'Index', 'Quarter Turn I', 'Paper Feed', 'Quarter Turn II', 'Carriage Return', 'Do Not Fold',
    'Quarter Turn III', 'Out Tray', 'Overtime',
  ]],
  ['Ridgeline Static', 'Halden Frost', 2011, 'ridges', 'slate', [
    'Carrier', 'Ridgeline Static', 'Two Hundred Kilometres of Nothing', 'Squelch',
    'The Repeater on the Hill', 'Sleet', 'Handover',
  ]],
  ['Honey for the Engine', 'Marisol Quint & the Ploughmen', 1968, 'blossom', 'ember', [
    'Honey for the Engine', 'Gravel Sunday', 'Big Blue Tractor', 'My Mother’s Compass',
    'Don’t Sell the Mule', 'Clover', 'Slow Dog Blues', 'Home by the Long Field',
  ]],
  ['Fennel & Rue', 'Briar Ashdown', 2016, 'leaves', 'moss', [
    'Sorrel', 'Fennel & Rue', 'The Apothecary’s Daughter', 'Nettle Song', 'Bitter First', 'Under Glass',
    'Rosemary, Twice',
  ]],
  ['Moon Arithmetic', 'Ilse Korhaven', 1983, 'phases', 'glacier', [
    'One', 'Carry the Night', 'Remainder', 'Moon Arithmetic', 'Long Division', 'Prime', 'Zero, Again',
  ]],
  ['Sotto', 'Trio Verdane', 1959, 'discs', 'coast', [
    'Sotto', 'A Chair by the Piano', 'Blue Umbrella', 'Corridor', 'Three for Annika',
    'The Last Tram but One',
  ]],
  ['The Cartographer’s Wife', 'Thessaly Boone', 2021, 'current', 'lagoon', [
    'Here Be Me', 'Legend', 'The Cartographer’s Wife', 'Meridian', 'Unsurveyed', 'Rhumb Line',
    'Scale of Miles', 'Folded Wrong', 'North, Magnetic',
  ]],
  ['Red Brick Psalms', 'Corner Chapel', 1991, 'weave', 'rust', [
    'Doorstep', 'Red Brick Psalms', 'Allotment', 'Mrs Oduya’s Radio', 'Canal Street Sermon',
    'Washing Day', 'Gasworks at Dusk', 'Amen, Number 42',
  ]],
  ['Dune Logic', 'Sefu Amarante', 2008, 'dunes', 'clay', [
    'Erg', 'Dune Logic', 'The Well Is a Rumour', 'Glass Wind', 'Caravan of Two', 'Slip Face', 'Wadi',
  ]],
  ['Northern Exits', 'Pale Motorway', 1997, 'poster', 'signal', [
    'Junction', 'Northern Exits', 'Services', 'Cat’s Eyes', 'Hard Shoulder', 'Contraflow',
    'Reduce Speed Now', 'All Other Routes',
  ]],
  ['Nightjar', 'Elowen Tace', 2014, 'night', 'tide', [
    'Hedge', 'Nightjar', 'Owl Light', 'A Field Without a Gate', 'The Poacher’s Lullaby', 'Dew',
    'Before the First Bus',
  ]],
  ['Arcade of Saints', 'Luz Peregrina', 1979, 'arches', 'ember', [
    'Procession', 'Arcade of Saints', 'Candle Tax', 'Santa Nobody', 'Bells for Rent',
    'The Sacristan Dances', 'Plaza, 4 a.m.', 'Ashes, Confetti',
  ]],
  ['Groove Tectonics', 'The Fault Lines', 1976, 'rings', 'rust', [
    'Subduction', 'Shake the Plate', 'Groove Tectonics', 'Magma Mama', 'Aftershock', 'Epicentre Strut',
    'Continental',
  ]],
  ['Four Small Cairns', 'Runa Eldvik', 2018, 'pebbles', 'slate', [
    'First Cairn', 'Moss Road', 'Second Cairn', 'What the Weather Said', 'Third Cairn', 'Ptarmigan',
    'Fourth Cairn',
  ]],
  ['High Passes', 'Ottoline Peake', 1987, 'peaks', 'orchid', [
    'Base Camp', 'High Passes', 'Thin Air', 'The Goat Knows', 'Scree', 'Alpenglow', 'Cornice',
    'Down by Dark',
  ]],
  ['Weather for Beginners', 'Cloud Committee', 2022, 'discs', 'mint', [
    'Minutes of the Last Rain', 'Cirrus, Probably', 'Weather for Beginners', 'Any Other Business',
    'Drizzle in A', 'Motion to Adjourn', 'Sunny Intervals',
  ]],
  ['Saltmarsh Radio', 'Ines Calloway', 1999, 'current', 'tide', [
    'Station Ident', 'Saltmarsh Radio', 'Shipping News', 'Curlew', 'The Mud Remembers', 'Dead Air',
    'Spring Tide', 'Closedown',
  ]],
  ['Bauplan', 'Werkstatt Nord', 1981, 'tiles', 'signal', [
    'Grundriss', 'Lot und Waage', 'Bauplan', 'Richtfest', 'Beton, Licht', 'Treppenhaus',
    'Schlüsselübergabe',
  ]],
  ['The Slow Orchard', 'Wren & Tansley', 2012, 'blossom', 'orchid', [
    'Grafting', 'The Slow Orchard', 'Windfall', 'Ladder Song', 'A Bushel of Quiet', 'Codling',
    'Cider Night', 'Bare Branches',
  ]],
  ['Kiln', 'Amadou Serre', 2005, 'strata', 'clay', [
    'Earth', 'Slip', 'Kiln', 'Ash Glaze', 'Cone Ten', 'Cooling', 'Crackle',
  ]],
  ['Two Suns, One Road', 'Desert Telegram', 1972, 'sun', 'lagoon', [
    'Two Suns', 'Stop', 'Chrome Coyote', 'Mirage Motel', 'One Road', 'Stop Again', 'Dust Sings Alto',
    'Full Stop',
  ]],
  ['Night Ferry to Orla', 'Sascha Winterbourne', 1985, 'night', 'dusk', [
    'Gangway', 'Night Ferry to Orla', 'Neon on Wet Steel', 'Duty Free', 'Cabin 114', 'Foghorn Heart',
    'Landfall',
  ]],
  ['Loom', 'Nadia Ferrow', 2010, 'weave', 'coast', [
    'Warp', 'Weft', 'Loom', 'Selvedge', 'Dropped Stitch', 'Twill', 'Unpicked',
  ]],
  ['Concrete Botany', 'Glasshouse Riot', 1994, 'leaves', 'citrus', [
    'Crack in the Pavement', 'Concrete Botany', 'Dandelion Clock-Off', 'Buddleia',
    'Root System Failure', 'Weedkiller', 'Green Again, Idiot',
  ]],
  ['Echo, Cousin of Rain', 'Tomasz Brill', 2017, 'rings', 'glacier', [
    'Puddle', 'Echo, Cousin of Rain', 'Gutter Étude', 'The Tin Roof Variations', 'Petrichor', 'After',
  ]],
  ['Standing Room', 'The Balcony Nine', 1961, 'poster', 'noir', [
    'Curtain', 'Standing Room', 'Brass in My Pocketbook', 'Hat Check Girl', 'The Understudy',
    'Spotlight Shuffle', 'Exit, Pursued', 'Encore for Nobody',
  ]],
  ['Pilot Light', 'Juno Castellane', 2020, 'ridges', 'plum', [
    'Click', 'Pilot Light', 'Kitchen at Midnight', 'Blue, Then Yellow', 'Low Heat', 'Boil Over',
    'Off at the Wall',
  ]],
  ['Aqueduct', 'Società del Ponte', 1989, 'arches', 'lagoon', [
    'Sorgente', 'Primo Arco', 'Aqueduct', 'Secondo Arco', 'La Valle Canta', 'Fontana',
  ]],
  ['Lesser Planets', 'Orrery', 1978, 'phases', 'plum', [
    'Ignition', 'Ceres Says', 'Lesser Planets', 'Vesta at the Window', 'Retrograde', 'Slingshot',
    'Heat Death Disco',
  ]],
  ['Whale Roads', 'Skerry', 2006, 'dunes', 'glacier', [
    'Launch', 'Whale Roads', 'Oar Song', 'Kelp', 'Nine Waves', 'The Widow’s Walk', 'Longship Lullaby',
    'Ashore',
  ]],
  ['Soft Machines for Hard Winters', 'Petra Olund', 2015, 'pebbles', 'plum', [
    'Thermostat', 'Soft Machine No. 1', 'Wool', 'Soft Machine No. 2', 'Radiator Choir', 'Thaw Protocol',
  ]],
  ['Parade of Umbrellas', 'Les Après-Midi', 1966, 'discs', 'signal', [
    'Ouverture sous la pluie', 'Parade of Umbrellas', 'Café Crème', 'Le Facteur danse',
    'Mademoiselle Zigzag', 'Dimanche, encore', 'Arc-en-ciel',
  ]],
  ['Summit Fever', 'Kestrel Union', 1993, 'peaks', 'glacier', [
    'Tin Cup', 'Summit Fever', 'Carabiner', 'Whiteout', 'Bivouac', 'Sherpa’s Radio',
    'The Long Way Is the Way',
  ]],
  ['Understory', 'Mycel', 2023, 'current', 'moss', [
    'Spore', 'Understory', 'Hyphae', 'Rot Is a Kind of Light', 'Wood Wide', 'Fruiting Body',
    'Fairy Ring', 'Decompose',
  ]],
  ['Blue Hour Ledger', 'Cassius Wray', 1957, 'tiles', 'tide', [
    'Ledger Blues', 'Four in the Morning Money', 'Blue Hour', 'Ice in the Glass', 'Paid in Full',
    'Overdrawn',
  ]],
  ['Carnival of Valves', 'Doctor Ohm', 1970, 'rings', 'orchid', [
    'Warm-Up', 'Carnival of Valves', 'Feedback Fandango', 'The Bearded Capacitor',
    'Sine, Sealed, Delivered', 'Ground Loop', 'Fuse',
  ]],
  ['Small Hours, Large Rooms', 'Vesper Lane', 2013, 'arches', 'noir', [
    'Foyer', 'Small Hours', 'Chandelier', 'Coat on a Chair', 'Large Rooms', 'Dust Sheets',
    'Keys, Porter',
  ]],
  ['Syncline', 'The Fold', 1984, 'strata', 'dusk', [
    'Bedding Plane', 'Anticline', 'Strike & Dip', 'Syncline', 'Limb', 'Hinge', 'Unconformity',
    'Deep Time',
  ]],
  ['Letters to the Lighthouse', 'Aino & the Keepers', 2009, 'sun', 'coast', [
    'Dear Keeper', 'Lens', 'Forty Thousand Candles', 'Letters to the Lighthouse', 'Storm Glass',
    'Automatic Now', 'Yours, the Sea',
  ]],
  ['Peony Season', 'Mei Larkspur', 2024, 'blossom', 'mint', [
    'Bud', 'Peony Season', 'Heavy-Headed', 'Ants Know First', 'Vase Life', 'Petals on the Piano',
    'Next Year',
  ]],
];
